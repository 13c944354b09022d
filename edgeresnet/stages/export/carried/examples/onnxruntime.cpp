// Calls what deploy.py built, through onnxruntime's C++ interface, on the images in samples/. From the bundle's folder,
// with onnxruntime's release unpacked in $ORT:
//
//   c++ -std=c++17 -O2 examples/onnxruntime.cpp -o built/example -I$ORT/include -L$ORT/lib -lonnxruntime
//   LD_LIBRARY_PATH=$ORT/lib built/example built/int8/model.onnx
#include <onnxruntime_cxx_api.h>

#include "bundle.hpp"

int main(int count, char** words) try {
    const std::string path = count > 1 ? words[1] : "built/int8/model.onnx";
    auto images = bundle::images("samples/pixels.npy");
    const auto labels = bundle::labels();
    Ort::Env environment;
    Ort::Session session(environment, path.c_str(), Ort::SessionOptions{});
    Ort::AllocatorWithDefaultOptions allocator;
    const auto in = session.GetInputNameAllocated(0, allocator), out = session.GetOutputNameAllocated(0, allocator);
    const char *inputs[] = {in.get()}, *outputs[] = {out.get()};
    const auto about = session.GetInputTypeInfo(0);
    const bool pixels = about.GetTensorTypeAndShapeInfo().GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    const std::int64_t height = images.height, width = images.width, channels = images.channels;
    const std::size_t size = images.height * images.width * images.channels;
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    for (std::size_t number = 0; number < images.count; ++number) {
        std::vector<float> image;
        Ort::Value input{nullptr};
        if (pixels) {  // preprocessing is inside
            const std::int64_t shape[] = {1, height, width, channels};
            input = Ort::Value::CreateTensor<std::uint8_t>(memory, images.pixels.data() + number * size, size, shape, 4);
        } else {
            const std::int64_t shape[] = {1, channels, height, width};
            image = bundle::normalized(images, number);
            input = Ort::Value::CreateTensor<float>(memory, image.data(), image.size(), shape, 4);
        }
        auto found = session.Run(Ort::RunOptions{}, inputs, &input, 1, outputs, 1);
        const float* answer = found[0].GetTensorData<float>();
        const auto given = found[0].GetTensorTypeAndShapeInfo();
        const std::vector<std::int64_t> sides = given.GetShape();
        bundle::tell(number, {answer, answer + given.GetElementCount()}, {sides.begin(), sides.end()}, labels);
    }
} catch (const std::exception& problem) {
    std::cerr << "error: " << problem.what() << "\n";
    return 1;
}
