// libtorch's process groups behind functions that Rust can call. Every function that can fail returns 0 or, after an
// exception, 1 with its message in `*error`, which the caller frees with nb_dist_free.

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace {

using Milliseconds = std::chrono::milliseconds;

char* copied(const char* text, size_t len) {
  char* out = static_cast<char*>(std::malloc(len + 1));
  if (out != nullptr) {
    std::memcpy(out, text, len);
    out[len] = '\0';
  }
  return out;
}

template <class F>
int guarded(char** error, F&& f) {
  try {
    f();
    return 0;
  } catch (const c10::Error& e) {
    const char* text = e.what_without_backtrace();
    *error = copied(text, std::strlen(text));
  } catch (const std::exception& e) {
    *error = copied(e.what(), std::strlen(e.what()));
  } catch (...) {
    static const char text[] = "unknown exception";
    *error = copied(text, sizeof(text) - 1);
  }
  return 1;
}

c10d::ReduceOp::RedOpType operation(int number) {
  return number == 0 ? c10d::ReduceOp::SUM : c10d::ReduceOp::MAX;
}

}  // namespace

struct nb_store {
  c10::intrusive_ptr<c10d::Store> it;
};

struct nb_group {
  c10::intrusive_ptr<c10d::Backend> it;
};

struct nb_work {
  c10::intrusive_ptr<c10d::Work> it;
  std::vector<at::Tensor> tensors;
};

extern "C" {

void nb_dist_free(void* memory) { std::free(memory); }

// `listener` is a listening socket, which the store takes over. If it is negative, the store listens on every address.
int nb_store_open(const char* host, std::uint16_t port, int serves, int listener, const char* prefix,
                  std::int64_t timeout_ms, nb_store** out, char** error) {
  return guarded(error, [&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves != 0;
    if (listener >= 0) {
      options.masterListenFd = listener;
    }
    options.waitWorkers = false;
    options.timeout = Milliseconds(timeout_ms);
    auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
    *out = new nb_store{c10::make_intrusive<c10d::PrefixStore>(prefix, std::move(store))};
  });
}

int nb_store_set(nb_store* store, const char* key, const std::uint8_t* bytes, size_t len, char** error) {
  return guarded(error, [&] { store->it->set(key, std::vector<std::uint8_t>(bytes, bytes + len)); });
}

// `*bytes` stays null if there is no such key.
int nb_store_get(nb_store* store, const char* key, std::uint8_t** bytes, size_t* len, char** error) {
  return guarded(error, [&] {
    if (!store->it->check({key})) {
      return;
    }
    const auto value = store->it->get(key);
    *len = value.size();
    *bytes = reinterpret_cast<std::uint8_t*>(copied(reinterpret_cast<const char*>(value.data()), value.size()));
  });
}

void nb_store_close(nb_store* store) { delete store; }

int nb_group_open(nb_store* store, int rank, int size, const char* address, std::int64_t timeout_ms, nb_group** out,
                  char** error) {
  return guarded(error, [&] {
    auto options = c10d::ProcessGroupGloo::Options::create(Milliseconds(timeout_ms));
    const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
    options->devices = {interface != nullptr && *interface != '\0'
                            ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                            : c10d::ProcessGroupGloo::createDeviceForHostname(address)};
    *out = new nb_group{c10::make_intrusive<c10d::ProcessGroupGloo>(store->it, rank, size, options)};
  });
}

#ifdef USE_C10D_NCCL
int nb_group_open_nccl(nb_store* store, int rank, int size, std::int64_t timeout_ms, nb_group** out, char** error) {
  return guarded(error, [&] {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = Milliseconds(timeout_ms);
    *out = new nb_group{c10::make_intrusive<c10d::ProcessGroupNCCL>(store->it, rank, size, options)};
  });
}
#endif

int nb_group_set_timeout(nb_group* group, std::int64_t timeout_ms, char** error) {
  return guarded(error, [&] { group->it->setTimeout(Milliseconds(timeout_ms)); });
}

void nb_group_close(nb_group* group) { delete group; }

int nb_group_all_reduce(nb_group* group, const at::Tensor* tensor, int op, nb_work** out, char** error) {
  return guarded(error, [&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = operation(op);
    auto work = group->it->allreduce(tensors, options);
    *out = new nb_work{std::move(work), std::move(tensors)};
  });
}

int nb_group_broadcast(nb_group* group, const at::Tensor* tensor, int root, nb_work** out, char** error) {
  return guarded(error, [&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    auto work = group->it->broadcast(tensors, options);
    *out = new nb_work{std::move(work), std::move(tensors)};
  });
}

// Waits at most `ms`. `*done` states whether the work is complete.
int nb_work_wait(nb_work* work, std::int64_t ms, int* done, char** error) {
  return guarded(error, [&] {
    *done = 0;
    if (work->tensors.front().is_cuda()) {
      // On a GPU, wait() only makes the stream wait, without a limit. Polling is the way to notice a lost process.
      const auto end = std::chrono::steady_clock::now() + Milliseconds(ms);
      while (!work->it->isCompleted()) {
        if (std::chrono::steady_clock::now() >= end) {
          return;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
      if (auto failure = work->it->exception()) {
        std::rethrow_exception(failure);
      }
      work->it->wait();
      *done = 1;
      return;
    }
    try {
      work->it->wait(Milliseconds(ms));
    } catch (...) {
      if (!work->it->isCompleted()) {
        return;  // only this wait has timed out
      }
      work->it->wait();  // it has just completed, successfully or with its own exception
    }
    *done = 1;
  });
}

void nb_work_close(nb_work* work) { delete work; }

}  // extern "C"
