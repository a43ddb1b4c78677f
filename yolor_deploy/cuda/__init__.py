"""YolorNMS on a GPU: the library of ``plugins/nms``, called from Python.

Needs no TensorRT and no torch. The device layer is ``cuda.core`` (extra ``cuda``): arrays of any
library that speaks ``__cuda_array_interface__`` or DLPack are taken where they are.
"""
