// A host of graphs that eisft export wrote, in C++17 over ONNX Runtime's C API: token ids in,
// logits and token ids out. What it does is runtime.md, whose sections the source names;
// golden.cpp holds it to the folder's golden vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace eisft {

// Error says what is wrong with a folder, an argument or a run.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Json is a value of a JSON text. What is not there is null.
class Json {
 public:
  enum class Kind { null, boolean, number, text, list, object };

  static Json parse(const std::string& text);

  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string text;
  std::vector<Json> list;
  std::map<std::string, Json> object;

  explicit operator bool() const { return kind != Kind::null; }
  const Json& operator[](const std::string& key) const;
  int64_t integer() const { return static_cast<int64_t>(number); }
  std::vector<int64_t> integers() const;
};

// Numbers are a tensor of a safetensors file, converted.
struct Numbers {
  std::vector<int64_t> shape;
  std::vector<float> floats;      // of F32, F16 and BF16
  std::vector<int32_t> integers;  // of the others
};

// read_file returns a file's bytes; read_numbers the tensors of a safetensors file.
std::string read_file(const std::string& path);
std::map<std::string, Numbers> read_numbers(const std::string& path);

// argmax returns the index of the largest number, of equal ones the first.
int32_t argmax(const std::vector<float>& x);

struct Options {
  std::string shape;      // "": the folder's first
  std::string precision;  // "": the last one, which is a quantized one where there is one
  int threads = 0;        // of one op; 0: the runtime's choice
  int level = 1;          // of graph optimization: 0 none, 1 basic, 2 extended, 99 all
};

// Model is an exported model of one shape and precision, loaded. Streams over it must not
// outlive it.
class Model {
 public:
  explicit Model(const std::string& folder, const Options& options = {});
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  int vocabulary() const;
  std::vector<int32_t> stop_ids() const;
  const Json& manifest() const;

 private:
  friend class Stream;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// Stream reads one text. It belongs to one thread.
class Stream {
 public:
  explicit Stream(const Model& model);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // feed reads tokens and returns the logits [V] after the last one.
  std::vector<float> feed(const std::vector<int32_t>& ids);
  // generate writes at most `most` tokens after the logits that feed returned, the likeliest
  // one each time, until one of `stop`.
  std::vector<int32_t> generate(std::vector<float> logits, std::size_t most, const std::vector<int32_t>& stop);

  int64_t read() const;       // tokens, n
  int64_t committed() const;  // of them, c
  bool held() const;
  int64_t written() const;  // tokens in the memory, in the layers where these are most
  // slots returns the index in the text of each slot's token [K,R'], memory the memory as
  // means, M [K,F,d] and z [K,F]; both are empty where a layer has none.
  std::vector<int32_t> slots(int layer) const;
  std::pair<std::vector<float>, std::vector<float>> memory(int layer) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace eisft
