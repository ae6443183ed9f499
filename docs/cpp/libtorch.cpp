// Runs model.ts on raw rows and prints one line of outputs for each row. docs/export.md says how to compile it.
//
//     libtorch MODEL.ts ROWS.raw DTYPE DIMENSION...
//
// ROWS.raw holds the rows one after another, as numpy's tofile() writes them; DTYPE and the dimensions of one row are
// `dtype` and `shape` of the input in manifest.json, for example `uint8 1 28 28`.
#include <torch/script.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

const std::map<std::string, torch::ScalarType> TYPES = {
    {"uint8", torch::kUInt8}, {"int8", torch::kInt8},       {"int16", torch::kInt16},
    {"int32", torch::kInt32}, {"int64", torch::kInt64},     {"float16", torch::kFloat16},
    {"bool", torch::kBool},   {"float32", torch::kFloat32}, {"float64", torch::kFloat64}};

int main(int argc, char **argv) try {
  if (argc < 5 || !TYPES.count(argv[3]))
    return std::fprintf(stderr, "usage: libtorch MODEL.ts ROWS.raw DTYPE DIMENSION...\n"), 2;
  std::ifstream file(argv[2], std::ios::binary);
  if (!file) return std::fprintf(stderr, "%s cannot be read\n", argv[2]), 2;
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};

  const auto type = TYPES.at(argv[3]);
  std::vector<int64_t> shape = {0};
  size_t row_bytes = torch::elementSize(type);
  for (int at = 4; at < argc; ++at) row_bytes *= shape.emplace_back(std::stoll(argv[at]));
  if (!row_bytes || bytes.size() % row_bytes) return std::fprintf(stderr, "a row has %zu bytes\n", row_bytes), 2;
  shape[0] = bytes.size() / row_bytes;

  torch::InferenceMode guard;
  auto model = torch::jit::load(argv[1], torch::kCPU);
  auto rows = torch::from_blob(bytes.data(), shape, type);
  auto answers = model.forward({rows}).toTensor().contiguous();
  const float *values = answers.data_ptr<float>();
  const auto width = answers.size(1);
  for (int64_t at = 0; at < answers.numel(); ++at) std::printf("%.9g%c", values[at], (at + 1) % width ? ' ' : '\n');
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
