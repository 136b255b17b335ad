// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <memory>
#include <vector>

#include "bindings/ops.hpp"
#include "bindings/tensor_arg.hpp"
#include "ops/encode/encode.hpp"
#include "ops/encode/pack.hpp"

namespace srdfast {
namespace {

// weight [outputs, inputs, kernel, kernel], bias [outputs], stride
using ConvolutionArgs = std::tuple<py::object, py::object, int>;
using BlockArgs = std::tuple<ConvolutionArgs, ConvolutionArgs, std::optional<ConvolutionArgs>>;

// The Python object of a network: copies of its weights, packed. It never changes, so threads may share it.
class PackedNetwork {
 public:
  PackedNetwork(const py::object& mean, const py::object& std, const ConvolutionArgs& stem, bool pools,
                const std::vector<BlockArgs>& blocks) {
    const auto channels = static_cast<int>(kept("mean", mean).size());
    network_.mean = storage_.back().data();
    const auto deviations = static_cast<int>(kept("std", std).size());
    network_.std = storage_.back().data();
    if (deviations != channels)
      expected("std", std::to_string(channels) + " numbers, as mean", std::to_string(deviations));
    network_.stem = convolution("stem", stem, channels);
    network_.pools = pools;
    int features = network_.stem.outputs, stages = 1;
    for (const auto& [first, second, shortcut] : blocks) {
      ResidualBlock block;
      block.first = convolution("first", first, features);
      block.second = convolution("second", second, block.first.outputs);
      if (shortcut) block.shortcut = convolution("shortcut", *shortcut, features);
      require_adds_up(block, features);
      features = block.second.outputs;
      stages += shortcut ? 1 : 0;
      blocks_.push_back(block);
    }
    if (blocks.empty()) expected("blocks", "at least one", "none");
    if (stages > kMostStages)
      expected("blocks", "at most " + std::to_string(kMostStages - 1) + " shortcuts",
               std::to_string(stages - 1));
    network_.blocks = blocks_.data();
    network_.block_count = static_cast<int>(blocks_.size());
  }
  PackedNetwork(const PackedNetwork&) = delete;
  PackedNetwork& operator=(const PackedNetwork&) = delete;

  const ResidualNetwork& view() const { return network_; }

 private:
  static void require_adds_up(const ResidualBlock& block, int features) {
    const Convolution &first = block.first, &second = block.second, &shortcut = block.shortcut;
    const bool same = first.stride == 1 && first.outputs == features;
    const bool fits =
        block.is_identity() ? same : shortcut.stride == first.stride && shortcut.outputs == first.outputs;
    if (!fits || second.stride != 1 || second.outputs != first.outputs)
      expected("blocks", "a shortcut and two convolutions with results of the same shape", "others");
  }

  std::vector<float>& kept(const char* name, const py::object& array) {
    const TensorArg arg(Call{py::none()}, name, array);
    const auto view = arg.view<const float, 1>("[channels]");
    require_finite(arg, View<const float, 2>{view.data, {1, view.extent(0)}});
    return storage_.emplace_back(view.data, view.data + view.extent(0));
  }

  Convolution convolution(const char* name, const ConvolutionArgs& args, int inputs) {
    const auto& [weight, bias, stride] = args;
    const TensorArg weight_arg(Call{py::none()}, name, weight);
    const auto weights = weight_arg.view<const float, 4>("[outputs, inputs, kernel, kernel]");
    require_extent(weight_arg, 1, inputs, "features of what it sees");
    require_extent(weight_arg, 3, weights.extent(2), "a square kernel");
    if (weights.size() == 0 || weights.extent(0) > (1 << 16) || weights.extent(2) > 15 ||
        weights.extent(2) % 2 == 0)
      expected(name, "1 to 2^16 outputs and an odd kernel of at most 15", "shape " + weight_arg.shape());
    if (stride != 1 && stride != 2) expected(name, "stride 1 or 2", std::to_string(stride));
    require_finite(weight_arg, weights);
    Convolution conv;
    conv.outputs = static_cast<int>(weights.extent(0));
    conv.inputs = inputs;
    conv.kernel = static_cast<int>(weights.extent(2));
    conv.stride = stride;
    storage_.push_back(packed_weights(conv, weights.data));
    conv.weights = storage_.back().data();
    std::vector<float>& biases = kept(name, bias);
    if (static_cast<int>(biases.size()) != conv.outputs)
      expected(name, "a bias of " + std::to_string(conv.outputs) + " numbers", std::to_string(biases.size()));
    biases.resize(static_cast<std::size_t>(panels_of(conv.outputs) * kOutputPanel));
    conv.bias = biases.data();
    return conv;
  }

  std::vector<std::vector<float>> storage_;
  std::vector<ResidualBlock> blocks_;
  ResidualNetwork network_{};
};

void encode(const py::object& images, const PackedNetwork& network, const py::object& latents) {
  const Call call{py::none()};
  const TensorArg images_arg(call, "images", images), latents_arg(call, "latents", latents);
  EncodeProblem<float> problem;
  problem.images = images_arg.view<const float, 4>("[batch, channels, height, width]");
  problem.network = network.view();
  problem.latents = latents_arg.view<float, 2>("[batch, latent]");
  require_extent(images_arg, 1, problem.network.stem.inputs, "channels of the network");
  require_extent(latents_arg, 0, problem.images.extent(0), "one an image");
  require_extent(latents_arg, 1, problem.network.latent(), "latent features of the network");
  for (int axis : {2, 3}) {
    if (problem.images.extent(axis) < 1 || problem.images.extent(axis) > (1 << 15))
      expected("images", "from 1 to 2^15 rows and columns", "shape " + images_arg.shape());
  }
  require_finite(images_arg, problem.images);
  if (problem.images.extent(0) > 0) call.run(problem);
}

}  // namespace

void bind_encode(py::module_& module) {
  py::class_<PackedNetwork>(module, "PackedNetwork",
                            "A residual network for `encode`; see srdfast.folded.FoldedNetwork.")
      .def(py::init<const py::object&, const py::object&, const ConvolutionArgs&, bool,
                    const std::vector<BlockArgs>&>(),
           py::arg("mean"), py::arg("std"), py::arg("stem"), py::arg("pools"), py::arg("blocks"));
  module.def("encode", &encode, py::arg("images"), py::arg("network"), py::arg("latents"));
}

}  // namespace srdfast
