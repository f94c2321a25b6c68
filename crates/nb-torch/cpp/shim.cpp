// Operations of libtorch as functions that Rust can call. Each returns 0 or, after an exception, 1 with its message in
// `*error`, which the caller frees with nb_torch_free. They use libtorch's dispatcher, so the device is chosen at run time.
// Autograd does not record them.

#include <ATen/Context.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_fused_adamw.h>
#include <sys/mman.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

template <class F>
int guarded(char** error, F&& f) {
  try {
    const at::NoGradGuard no_grad;
    f();
    return 0;
  } catch (const c10::Error& e) {
    *error = strdup(e.what_without_backtrace());
  } catch (const std::exception& e) {
    *error = strdup(e.what());
  } catch (...) {
    *error = strdup("unknown exception");
  }
  return 1;
}

std::vector<at::Tensor> list(const at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    out.push_back(*tensors[i]);
  }
  return out;
}

// The functions to apply after a product, in the order of Rust's `Then`: libtorch's names of the function and its
// variant.
struct Then {
  const char* name;
  const char* kind;
};
constexpr Then THEN[] = {{"none", ""}, {"gelu", "none"}, {"gelu", "tanh"}, {"relu", ""}, {"swish", ""}};

// While an object of this class exists, libtorch's kernels are deterministic. The setting is global to the process, so
// only one object exists at a time.
class Repeatable {
 public:
  Repeatable() {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  }
  ~Repeatable() {
    at::globalContext().setDeterministicAlgorithms(is_on_, warns_);
    at::globalContext().setDeterministicFillUninitializedMemory(fills_);
  }
  Repeatable(const Repeatable&) = delete;
  Repeatable& operator=(const Repeatable&) = delete;

 private:
  static std::mutex one;
  const std::lock_guard<std::mutex> lock_{one};
  const bool is_on_ = at::globalContext().deterministicAlgorithms();
  const bool warns_ = at::globalContext().deterministicAlgorithmsWarnOnly();
  const bool fills_ = at::globalContext().deterministicFillUninitializedMemory();
};
std::mutex Repeatable::one;

// A function of the caller as a node of autograd's graph. It has only first derivatives.
class Function final : public torch::autograd::Node {
 public:
  // Takes a gradient, which the callee owns, and writes `count` gradients, one for each input: tensors that the caller owns.
  // Returns 0, or 1 with a message that the caller frees.
  using Call = int (*)(void* data, at::Tensor* grad, at::Tensor** grads, size_t count, char** error);
  using Drop = void (*)(void* data);
  using Data = std::unique_ptr<void, Drop>;

  Function(Data data, Call call) : data_(std::move(data)), call_(call) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override {
    // Two threads may run backward through one graph.
    const std::lock_guard<std::mutex> lock(mutex_);
    if (at::GradMode::is_enabled()) {
      throw std::runtime_error("a function with its own backward pass has no second derivatives");
    }
    if (data_ == nullptr) {
      throw std::runtime_error("a second backward pass through a graph that was not retained");
    }
    torch::autograd::variable_list out(num_outputs());
    if (!grads[0].defined()) {
      return out;
    }
    std::vector<at::Tensor*> made(out.size(), nullptr);
    char* message = nullptr;
    if (call_(data_.get(), new at::Tensor(grads[0]), made.data(), made.size(), &message) != 0) {
      const std::unique_ptr<char, decltype(&std::free)> owner(message, std::free);
      throw std::runtime_error(message != nullptr ? message : "no memory for the message of a failed backward pass");
    }
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = std::move(*std::unique_ptr<at::Tensor>(made[i]));
    }
    return out;
  }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    data_.reset();
  }

 private:
  Data data_;
  const Call call_;
};

}  // namespace

extern "C" {

void nb_torch_free(void* memory) { std::free(memory); }

// Writes f(x Wᵀ + b) to `out`; `bias` may be null.
int nb_linear(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, size_t then, at::Tensor** out,
              char** error) {
  return guarded(error, [&] {
    using Linear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view,
                              c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);
    static const auto linear =
        c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Linear>();
    const auto [name, kind] = THEN[then];
    *out = new at::Tensor(linear.call(*x, *weight, bias != nullptr ? std::make_optional(*bias) : std::nullopt, name,
                                      c10::List<std::optional<at::Scalar>>(), kind));
  });
}

// Writes the values of `value` to `out`, as a function of the `count` tensors at `inputs` if autograd is enabled. The
// graph owns `data` and finally passes it to `drop`; without a graph, this happens immediately.
int nb_with_backward(const at::Tensor* value, const at::Tensor* const* inputs, size_t count, void* data,
                     Function::Call call, Function::Drop drop, at::Tensor** out, char** error) {
  Function::Data owner(data, drop);
  const bool is_on = at::GradMode::is_enabled();
  return guarded(error, [&] {
    auto result = std::make_unique<at::Tensor>(value->detach());
    const auto all = list(inputs, count);
    if (is_on && std::any_of(all.begin(), all.end(), [](const at::Tensor& input) { return input.requires_grad(); })) {
      auto node = std::shared_ptr<Function>(new Function(std::move(owner), call), torch::autograd::deleteNode);
      node->set_next_edges(torch::autograd::collect_next_edges(all));
      torch::autograd::set_history(*result, node);
    }
    *out = result.release();
  });
}

// Writes a tensor of `count` f32 zeros to `out`, in pages that the system provides when they are first written. Huge pages
// would be provided for a few bytes.
int nb_zeros_on_demand(std::int64_t count, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    if (count <= 0 || count > PTRDIFF_MAX / static_cast<std::int64_t>(sizeof(float))) {
      throw std::runtime_error("a tensor of " + std::to_string(count) + " numbers");
    }
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      throw std::runtime_error("no address space for " + std::to_string(bytes) + " bytes");
    }
#ifdef MADV_NOHUGEPAGE
    madvise(memory, bytes, MADV_NOHUGEPAGE);  // fails only if the system has no huge pages
#endif
    const auto unmap = [bytes](void* start) { munmap(start, bytes); };
    std::unique_ptr<void, decltype(unmap)> owner(memory, unmap);
    auto zeros = std::make_unique<at::Tensor>(at::from_blob(memory, {count}, unmap, at::TensorOptions(at::kFloat)));
    owner.release();  // the tensor owns the memory
    *out = zeros.release();
  });
}

// Provides the pages of `bytes` bytes of writable memory in one go. Without it, an entry that is read before it is written costs
// two page faults, and the second one interrupts the other threads.
void nb_populate(float* start, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  static const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(start) & ~(page - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(start) + bytes;
  madvise(reinterpret_cast<void*>(first), end - first, MADV_POPULATE_WRITE);  // fails before Linux 5.14: no harm
#endif
}

// Takes four lists of `count` tensors each, and three scalar tensors on their device.
int nb_fused_adamw(const at::Tensor* const* values, const at::Tensor* const* grads, const at::Tensor* const* first,
                   const at::Tensor* const* second, size_t count, const at::Tensor* step,
                   const at::Tensor* grad_scale, const at::Tensor* found_inf, double lr, double beta1, double beta2,
                   double weight_decay, double epsilon, char** error) {
  return guarded(error, [&] {
    const std::vector<at::Tensor> steps(count, *step);
    at::_fused_adamw_(list(values, count), list(grads, count), list(first, count), list(second, count),
                      /*max_exp_avg_sqs=*/{}, steps, lr, beta1, beta2, weight_decay, epsilon, /*amsgrad=*/false,
                      /*maximize=*/false, *grad_scale, *found_inf);
  });
}

// Writes the result, the log-sum-exp of the rows and two more tensors to `out`. The backward pass takes them as
// `forward`.
int nb_flash_attention(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value,
                       const at::Tensor* starts, std::int64_t longest, double dropout, double scale,
                       at::Tensor** out, char** error) {
  return guarded(error, [&] {
    auto [result, log_sums, random, unused, mask] = at::_flash_attention_forward(
        *query, *key, *value, *starts, *starts, longest, longest, dropout, /*is_causal=*/false,
        /*return_debug_mask=*/false, scale);
    out[0] = new at::Tensor(std::move(result));
    out[1] = new at::Tensor(std::move(log_sums));
    out[2] = new at::Tensor(std::move(random));
    out[3] = new at::Tensor(std::move(unused));
  });
}

// Writes the gradients of query, key and value to `out`.
int nb_flash_attention_backward(const at::Tensor* grad, const at::Tensor* query, const at::Tensor* key,
                                const at::Tensor* value, const at::Tensor* const* forward, const at::Tensor* starts,
                                std::int64_t longest, double dropout, double scale, at::Tensor** out, char** error) {
  return guarded(error, [&] {
    // By default, the gradients of queries are summed in no fixed order.
    const Repeatable repeatable;
    auto [query_grad, key_grad, value_grad] = at::_flash_attention_backward(
        *grad, *query, *key, *value, *forward[0], *forward[1], *starts, *starts, longest, longest, dropout,
        /*is_causal=*/false, *forward[2], *forward[3], scale);
    out[0] = new at::Tensor(std::move(query_grad));
    out[1] = new at::Tensor(std::move(key_grad));
    out[2] = new at::Tensor(std::move(value_grad));
  });
}

}  // extern "C"
