/// Random runs of the phases on the host.
///
///     fuzz [COUNT [FIRST [THREADS]]]    cases FIRST to FIRST + COUNT - 1, each made from its
///     number

#include "fuzz.h"
#include "yolor_nms/plan.h"

namespace {

using namespace yolor_nms;

struct HostCase {
  Detections operator()(RandomCase const& made) const {
    Detections found(made.shape, made.params);
    Inputs const inputs = made.inputs();
    Outputs const outputs = found.outputs();
    Plan const plan = plan_of(made.shape, made.params, made.schedule.window);
    std::size_t const bytes = plan.bytes_per_image * static_cast<std::size_t>(made.shape.batch);
    std::vector<unsigned char> workspace(bytes, 0xA5);
    run_on_host(&made.shape, &made.params, &inputs, &outputs, workspace.data(), bytes,
                made.schedule);  // an error leaves the outputs as they are, which differ
    return found;
  }
};

}  // namespace

int main(int argc, char** argv) { return fuzz<HostCase>(argc, argv); }
