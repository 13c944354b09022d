// Calls what deploy.py built, through OpenVINO's C++ interface, on the images in samples/. From the bundle's folder:
//
//   c++ -std=c++17 -O2 examples/openvino.cpp -o built/example $(pkg-config --cflags --libs openvino)
//   built/example built/int8/model.xml          # what is not INT8 stays FP32, as it was measured
//   built/example built/half/model.xml bf16     # the half-precision variant, as deploy.py measured it
#include <openvino/openvino.hpp>

#include "bundle.hpp"

int main(int count, char** words) try {
    const std::string path = count > 1 ? words[1] : "built/int8/model.xml";
    const std::string parts = count > 2 ? words[2] : "f32";  // OpenVINO would take BF16 by default where the CPU has it
    const auto images = bundle::images("samples/pixels.npy");
    const auto labels = bundle::labels();
    ov::Core core;
    auto model = core.read_model(path);
    const bool pixels = model->input().get_element_type() == ov::element::u8;  // preprocessing is inside then
    const ov::Shape shape = pixels ? ov::Shape{1, images.height, images.width, images.channels}
                                   : ov::Shape{1, images.channels, images.height, images.width};
    model->reshape({{model->input().get_any_name(), ov::PartialShape(shape)}});
    const auto precision = ov::hint::inference_precision(ov::element::Type(parts));
    auto request = core.compile_model(model, "CPU", precision).create_infer_request();
    for (std::size_t number = 0; number < images.count; ++number) {
        auto input = request.get_input_tensor();
        if (pixels) {
            std::copy_n(images.pixels.data() + number * input.get_size(), input.get_size(), input.data<std::uint8_t>());
        } else {
            const auto image = bundle::normalized(images, number);
            std::copy(image.begin(), image.end(), input.data<float>());
        }
        request.infer();
        const auto output = request.get_output_tensor();
        bundle::tell(number, {output.data<float>(), output.data<float>() + output.get_size()}, output.get_shape(), labels);
    }
} catch (const std::exception& problem) {
    std::cerr << "error: " << problem.what() << "\n";
    return 1;
}
