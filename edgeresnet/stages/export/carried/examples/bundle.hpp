// What the C++ examples need of this bundle: its sample images, how they are normalised, and its labels.
// C++17 and its standard library alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace bundle {

struct Images {
    std::size_t count, height, width, channels, bytes;  // of one value: 1, or 2 with the low one first
    std::vector<std::uint8_t> pixels;                   // one image after the other, row by row, channels last
    float value(std::size_t at) const { return bytes == 1 ? pixels[at] : pixels[2 * at] + 256 * pixels[2 * at + 1]; }
};

inline std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

// samples/pixels.npy: numpy's format, version 1, uint8 or uint16.
inline Images images(const std::string& path) {
    const std::string data = read(path);
    if (data.size() < 10 || data.compare(1, 5, "NUMPY") != 0) throw std::runtime_error(path + " is not an .npy file");
    const std::size_t head = std::uint8_t(data[8]) + 256u * std::uint8_t(data[9]);
    const std::string about = data.substr(10, head);
    const std::size_t bytes = about.find("|u1") != std::string::npos ? 1 : about.find("<u2") != std::string::npos ? 2 : 0;
    if (bytes == 0) throw std::runtime_error(path + " does not hold pixels");
    std::vector<std::size_t> sides;
    std::stringstream shape(about.substr(about.find('(') + 1));
    for (std::size_t side; sides.size() < 4 && shape >> side; shape.ignore(2)) sides.push_back(side);
    if (sides.size() != 4) throw std::runtime_error(path + " does not hold images");
    Images found{sides[0], sides[1], sides[2], sides[3], bytes, {}};
    found.pixels.assign(data.begin() + 10 + head, data.end());
    if (found.pixels.size() != bytes * sides[0] * sides[1] * sides[2] * sides[3]) throw std::runtime_error(path + " is cut short");
    return found;
}

// One image as the network takes it: float32, channels first. normalize.txt has a line for each of the network's
// channels: which channel of the pixels it is, and what that is multiplied with and raised by.
inline std::vector<float> normalized(const Images& all, std::size_t number, const std::string& path = "normalize.txt") {
    std::istringstream lines(read(path));
    const std::size_t first = number * all.height * all.width * all.channels;
    std::vector<float> found;
    std::size_t channel;
    for (float scale, shift; lines >> channel >> scale >> shift;)
        for (std::size_t at = 0; at < all.height * all.width; ++at)
            found.push_back(all.value(first + at * all.channels + channel) * scale + shift);
    return found;
}

inline std::vector<std::string> labels(const std::string& path = "labels.txt") {
    std::istringstream lines(read(path));
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);) found.push_back(line);
    return found;
}

// Prints what the answer to one image says first. Its shape shows what it is: a logit for each class; a map of them for
// each pixel, channels first; or a row for each anchor of a detector, with four offsets after the logits. How rows become
// boxes is in edgeresnet/portable/tasks/detector.py, with the numbers of bundle.json.
inline void tell(std::size_t number, const std::vector<float>& answer, const std::vector<std::size_t>& shape,
                 const std::vector<std::string>& labels) {
    const std::size_t classes = labels.size();
    std::cout << "image " << number << ": ";
    if (answer.size() == classes) {
        const auto best = std::max_element(answer.begin(), answer.end()) - answer.begin();
        std::cout << labels[best] << " (" << answer[best] << ")\n";
    } else if (shape.size() == 4 && shape[1] == classes) {
        const std::size_t pixels = shape[2] * shape[3];
        std::vector<std::size_t> counts(classes);
        for (std::size_t at = 0; at < pixels; ++at) {
            std::size_t best = 0;
            for (std::size_t each = 1; each < classes; ++each)
                if (answer[each * pixels + at] > answer[best * pixels + at]) best = each;
            ++counts[best];
        }
        const auto most = std::max_element(counts.begin(), counts.end()) - counts.begin();
        std::cout << labels[most] << " (" << 100.0 * counts[most] / pixels << " % of the pixels)\n";
    } else if (shape.size() == 3 && shape[2] == classes + 4) {
        std::size_t row = 0, best = 0;
        for (std::size_t at = 0; at < shape[1]; ++at)
            for (std::size_t each = 0; each < classes; ++each)
                if (answer[at * shape[2] + each] > answer[row * shape[2] + best]) row = at, best = each;
        std::cout << labels[best] << " (" << answer[row * shape[2] + best] << " at anchor " << row << ")\n";
    } else {
        std::cout << answer.size() << " numbers: edgeresnet/portable/tasks/ reads them\n";
    }
}

}  // namespace bundle
