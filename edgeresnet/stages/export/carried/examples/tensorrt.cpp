// Calls the engine that deploy.py built, through TensorRT's C++ interface, on the images in samples/. From the bundle's
// folder, with CUDA in /usr/local/cuda (TensorRT-RTX: the same file, its own headers, and -ltensorrt_rtx):
//
//   export CPATH=/usr/local/cuda/include LIBRARY_PATH=/usr/local/cuda/lib64
//   c++ -std=c++17 -O2 examples/tensorrt.cpp -o built/example -lnvinfer -lcudart
//   built/example built/int8/model.engine
//
// An engine belongs to the release and the GPU that built it: target.json next to it names them.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <memory>

#include "bundle.hpp"

namespace {

struct Log : nvinfer1::ILogger {
    void log(Severity severity, const char* said) noexcept override {
        if (severity <= Severity::kWARNING) std::cerr << said << "\n";
    }
};

void check(cudaError_t code) {
    if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}

// On the GPU, given back at the end.
struct Memory {
    explicit Memory(std::size_t size) : size(size) { check(cudaMalloc(&at, size)); }
    Memory(const Memory&) = delete;
    ~Memory() { cudaFree(at); }
    void* at = nullptr;
    std::size_t size;
};

template <class T>
std::unique_ptr<T> made(T* thing, const char* what) {
    if (!thing) throw std::runtime_error(std::string("no ") + what + ": the log says why");
    return std::unique_ptr<T>(thing);
}

}  // namespace

int main(int count, char** words) try {
    const std::string plan = bundle::read(count > 1 ? words[1] : "built/int8/model.engine");
    const auto images = bundle::images("samples/pixels.npy");
    const auto labels = bundle::labels();
    Log log;
    const auto runtime = made(nvinfer1::createInferRuntime(log), "runtime");
    const auto engine = made(runtime->deserializeCudaEngine(plan.data(), plan.size()), "engine");
    const auto context = made(engine->createExecutionContext(), "context");
    const char *in = engine->getIOTensorName(0), *out = engine->getIOTensorName(1);
    if (engine->getTensorIOMode(in) != nvinfer1::TensorIOMode::kINPUT) std::swap(in, out);
    const bool pixels = engine->getTensorDataType(in) == nvinfer1::DataType::kUINT8;  // preprocessing is inside then
    const int height = images.height, width = images.width, channels = images.channels;
    const auto shape = pixels ? nvinfer1::Dims4{1, height, width, channels} : nvinfer1::Dims4{1, channels, height, width};
    if (!context->setInputShape(in, shape)) throw std::runtime_error("the engine does not take one image at a time");

    const auto sides = context->getTensorShape(out);
    const std::vector<std::size_t> answers(sides.d, sides.d + sides.nbDims);
    std::size_t numbers = 1;
    for (const auto side : answers) numbers *= side;
    const std::size_t values = images.height * images.width * images.channels;
    Memory input(values * (pixels ? 1 : sizeof(float))), output(numbers * sizeof(float));
    context->setTensorAddress(in, input.at);
    context->setTensorAddress(out, output.at);
    cudaStream_t stream;
    check(cudaStreamCreate(&stream));
    std::vector<float> answer(numbers);
    for (std::size_t number = 0; number < images.count; ++number) {
        const auto image = pixels ? std::vector<float>{} : bundle::normalized(images, number);
        const void* from = pixels ? static_cast<const void*>(images.pixels.data() + number * values) : image.data();
        check(cudaMemcpyAsync(input.at, from, input.size, cudaMemcpyHostToDevice, stream));
        if (!context->enqueueV3(stream)) throw std::runtime_error("the inference does not start");
        check(cudaMemcpyAsync(answer.data(), output.at, output.size, cudaMemcpyDeviceToHost, stream));
        check(cudaStreamSynchronize(stream));
        bundle::tell(number, answer, answers, labels);
    }
    check(cudaStreamDestroy(stream));
} catch (const std::exception& problem) {
    std::cerr << "error: " << problem.what() << "\n";
    return 1;
}
