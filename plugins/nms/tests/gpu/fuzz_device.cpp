/// Random runs on a GPU, of the same cases that the host has.
///
///     fuzz_device [COUNT [FIRST [THREADS [unfilled]]]]    unfilled: for initcheck, see DeviceRun

#include "../fuzz.h"
#include "device_run.h"

namespace {

using namespace yolor_nms;

bool is_filled = true;  // set before any thread runs

class DeviceCase {
 public:
  Detections operator()(RandomCase const& made) {
    run_.load(made.shape, made.params, made.inputs(), made.schedule.window);
    // Few blocks have to share; most cases have all.
    bool const has_few = made.schedule.shuffle % 4 == 0;
    std::int32_t const code = run_.launch(has_few ? made.schedule.num_blocks : 0);
    if (code != 0) {
      std::fprintf(stderr, "launch: code %d\n", code);
      std::exit(EXIT_FAILURE);
    }
    return run_.detections();
  }

 private:
  DeviceRun run_{is_filled};
};

}  // namespace

int main(int argc, char** argv) {
  is_filled = argc < 5;
  return fuzz<DeviceCase>(argc, argv);
}
