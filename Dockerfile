# syntax=docker/dockerfile:1
# yolor-deploy with its CUDA kernels and TensorRT plugin on NVIDIA's TensorRT image; without torch.
# Linted, not built, by us: no Docker engine was at hand. What compiles, makes the wheel and installs
# it was run by hand outside; what NVIDIA's images hold is from what is published. Needs no GPU.
#
#   docker build -t yolor-deploy .
#   docker build -t yolor-deploy --build-arg TENSORRT_TAG=26.04-py3 .    # TensorRT 10.16
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/work" yolor-deploy \
#     build yolor-p6.onnx --fp16 -o yolor-p6.fp16.onnx
#   docker build --target wheel --output type=local,dest=dist .          # only the wheel
#
# Tags: 26.07-py3 is TensorRT 11.1.0 with CUDA 13.3, Ubuntu 24.04 and Python 3.12. The versions in
# scripts/constraints.txt need Python 3.11 or later, which images have from 24.12 (TensorRT 10.7) on.
ARG TENSORRT_TAG=26.07-py3

FROM nvcr.io/nvidia/tensorrt:${TENSORRT_TAG} AS plugins
# NVIDIA's image pins packages for its own samples
ENV PIP_CONSTRAINT="" PIP_DISABLE_PIP_VERSION_CHECK=1
# hadolint ignore=DL3008 # only the newest of a package stays on Ubuntu's servers; the image's tag pins the release
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY scripts/build-plugins scripts/constraints.txt scripts/
RUN python3 -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --constraint scripts/constraints.txt \
        cmake ninja scikit-build-core
COPY plugins/nms plugins/nms
# Compiles for every architecture, and runs the tests that need no GPU; into yolor_deploy/lib
RUN header="$(find /usr/include /usr/local /opt -name NvInferRuntime.h -print -quit)" \
    && test -n "$header" \
    && TENSORRT_INCLUDE_DIR="$(dirname "$header")" ./scripts/build-plugins tensorrt \
    && test -f yolor_deploy/lib/libyolor_nms.so \
    && test -f yolor_deploy/lib/libyolor_nms_plugin.so

FROM plugins AS package
COPY pyproject.toml README.md LICENSE ./
COPY yolor_deploy yolor_deploy
# The libraries are there, and go in as they are
RUN .venv/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist \
        -Cwheel.cmake=false -Cwheel.platlib=true .

FROM scratch AS wheel
COPY --from=package /dist/ /

FROM nvcr.io/nvidia/tensorrt:${TENSORRT_TAG} AS runtime
# Of pyproject.toml; `export`, which is torch, belongs on another machine
ARG EXTRAS=cuda,eval
ENV PIP_CONSTRAINT="" PIP_DISABLE_PIP_VERSION_CHECK=1
# hadolint ignore=DL3008 # as above
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv --system-site-packages /opt/yolor-deploy
ENV PATH="/opt/yolor-deploy/bin:${PATH}"
COPY scripts/constraints.txt /opt/yolor-deploy/
# Every package anew: what the image has for its samples does not decide. tensorrt itself is the image's
RUN --mount=type=bind,from=package,source=/dist,target=/dist \
    wheel="$(find /dist -name '*.whl')" \
    && pip install --no-cache-dir --ignore-installed \
        --constraint /opt/yolor-deploy/constraints.txt "${wheel}[${EXTRAS}]" \
    && python -c 'import tensorrt; print("TensorRT", tensorrt.__version__)' \
    && yolor-deploy --version
# 1000 is taken by Ubuntu's own user
RUN groupadd --gid 10001 yolor \
    && useradd --create-home --uid 10001 --gid yolor yolor \
    && install --directory --owner yolor --group yolor /work
USER 10001:10001
WORKDIR /work
# NVIDIA's entry point prints a banner on stdout, where results go
ENTRYPOINT ["yolor-deploy"]
CMD ["--help"]
