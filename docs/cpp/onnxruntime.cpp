// Runs model.onnx on raw rows and prints one line of outputs for each row. docs/export.md says how to compile it.
//
//     onnxruntime MODEL.onnx ROWS.raw
//
// ROWS.raw holds the rows one after another in the input's data type, as numpy's tofile() writes them.
#include <onnxruntime_cxx_api.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

size_t bytes_of(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return 8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
      return 4;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16:
      return 2;
    default:
      return 1;  // uint8, int8, bool
  }
}

int main(int argc, char **argv) try {
  if (argc != 3) return std::fprintf(stderr, "usage: onnxruntime MODEL.onnx ROWS.raw\n"), 2;
  std::ifstream file(argv[2], std::ios::binary);
  if (!file) return std::fprintf(stderr, "%s cannot be read\n", argv[2]), 2;
  std::vector<char> rows{std::istreambuf_iterator<char>(file), {}};

  Ort::Env env;
  Ort::Session session(env, argv[1], Ort::SessionOptions{});
  Ort::AllocatorWithDefaultOptions allocator;
  auto input = session.GetInputNameAllocated(0, allocator), output = session.GetOutputNameAllocated(0, allocator);
  auto input_type = session.GetInputTypeInfo(0);  // owns what `wanted` refers to
  auto wanted = input_type.GetTensorTypeAndShapeInfo();
  auto shape = wanted.GetShape();
  size_t row_bytes = bytes_of(wanted.GetElementType());
  for (size_t axis = 1; axis < shape.size(); ++axis) row_bytes *= shape[axis];
  if (rows.size() % row_bytes) return std::fprintf(stderr, "a row has %zu bytes\n", row_bytes), 2;
  shape[0] = rows.size() / row_bytes;

  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto tensor = Ort::Value::CreateTensor(memory, rows.data(), rows.size(), shape.data(), shape.size(), wanted.GetElementType());
  const char *inputs[] = {input.get()}, *outputs[] = {output.get()};
  auto answers = session.Run(Ort::RunOptions{}, inputs, &tensor, 1, outputs, 1);
  const float *values = answers[0].GetTensorData<float>();
  auto width = answers[0].GetTensorTypeAndShapeInfo().GetShape()[1];
  for (int64_t at = 0; at < shape[0] * width; ++at) std::printf("%.9g%c", values[at], (at + 1) % width ? ' ' : '\n');
} catch (const Ort::Exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
