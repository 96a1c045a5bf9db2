#pragma once
// What the tests of the simulated GPU share: memory and streams that are checked, and a process of its own for what must end in a fault.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "engine/kernels/launch.h"

namespace mlkd::test {

// The fault's line, without "simulated GPU: ", that `work` ends in; "" where it comes to an end.
inline std::string fault_of(const std::function<void()>& work) {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    std::fflush(nullptr);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        work();
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = read(ends[0], part.data(), part.size())) > 0;) text.append(part.data(), static_cast<std::size_t>(got));
    close(ends[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    const std::string start = "simulated GPU: ";
    const std::size_t at = text.find(start);
    if (at == std::string::npos) {
        CHECK_MESSAGE((WIFEXITED(status) && WEXITSTATUS(status) == 0), "ended without a fault, but not well: ", text);
        return "";
    }
    CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return text.substr(at + start.size(), text.find('\n', at) - at - start.size());
}

inline bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class TestStream {
public:
    explicit TestStream(unsigned flags = cudaStreamNonBlocking) { REQUIRE(cudaStreamCreateWithFlags(&handle_, flags) == cudaSuccess); }
    ~TestStream() { cudaStreamDestroy(handle_); }
    TestStream(const TestStream&) = delete;
    TestStream& operator=(const TestStream&) = delete;

    operator cudaStream_t() const { return handle_; }
    Stream launcher() const { return {DeviceKind::cuda, handle_}; }
    void wait() const { REQUIRE(cudaStreamSynchronize(handle_) == cudaSuccess); }

private:
    cudaStream_t handle_ = nullptr;
};

// So many numbers on the device.
template <class T>
class OnDevice {
public:
    explicit OnDevice(std::size_t count) : count_(count) {
        void* memory = nullptr;
        REQUIRE(cudaMalloc(&memory, count * sizeof(T)) == cudaSuccess);
        data_ = static_cast<T*>(memory);
    }
    OnDevice(const TestStream& stream, const std::vector<T>& values) : OnDevice(values.size()) {
        REQUIRE(cudaMemcpyAsync(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, stream) == cudaSuccess);
        stream.wait();
    }
    ~OnDevice() { cudaFree(data_); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

    T* data() const { return data_; }
    std::vector<T> fetched(const TestStream& stream) const {
        std::vector<T> values(count_);
        REQUIRE(cudaMemcpyAsync(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost, stream) == cudaSuccess);
        stream.wait();
        return values;
    }

private:
    T* data_ = nullptr;
    std::size_t count_;
};

// y(i) = x(i) + 1
struct AddOne {
    float* y;
    const float* x;
    void operator()(std::int64_t i) const { y[i] = x[i] + 1; }
};

}  // namespace mlkd::test
