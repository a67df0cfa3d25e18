#include "eisft.hpp"

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace eisft {

namespace {

// ---- JSON ----

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Json document() {
    Json value = any(0);
    space();
    if (at_ != text_.size()) fail("something follows the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error("JSON, byte " + std::to_string(at_) + ": " + what); }
  void space() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_])) at_++;
  }
  bool next(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    at_++;
    return true;
  }
  void want(char c) {
    if (!next(c)) fail(std::string("want ") + c);
  }
  bool word(const char* w) {
    if (text_.compare(at_, std::strlen(w), w) != 0) return false;
    at_ += std::strlen(w);
    return true;
  }

  Json any(int depth) {
    if (depth > 100) fail("it is nested too deeply");
    space();
    Json v;
    if (at_ >= text_.size()) fail("it ends too early");
    if (word("null")) return v;
    if (word("true") || word("false")) {
      v.kind = Json::Kind::boolean;
      v.boolean = text_[at_ - 2] == 'u';
    } else if (text_[at_] == '"') {
      v.kind = Json::Kind::text;
      v.text = string();
    } else if (next('[')) {
      v.kind = Json::Kind::list;
      for (bool first = true; !next(']'); first = false) {
        if (!first) want(',');
        v.list.push_back(any(depth + 1));
      }
    } else if (next('{')) {
      v.kind = Json::Kind::object;
      for (bool first = true; !next('}'); first = false) {
        if (!first) want(',');
        space();
        std::string key = string();
        want(':');
        v.object[key] = any(depth + 1);
      }
    } else {
      const char* from = text_.c_str() + at_;
      char* to = nullptr;
      v.kind = Json::Kind::number;
      v.number = std::strtod(from, &to);
      if (to == from) fail("it is no value");
      at_ += static_cast<std::size_t>(to - from);
    }
    return v;
  }

  unsigned hex() {
    if (at_ + 4 > text_.size()) fail("it ends too early");
    unsigned v = static_cast<unsigned>(std::strtoul(text_.substr(at_, 4).c_str(), nullptr, 16));
    at_ += 4;
    return v;
  }

  std::string string() {
    if (at_ >= text_.size() || text_[at_] != '"') fail("want a string");
    std::string out;
    for (at_++; at_ < text_.size() && text_[at_] != '"';) {
      char c = text_[at_++];
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) break;
      switch (c = text_[at_++]) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'u': utf8(out); break;
        default: out += c;
      }
    }
    if (at_++ >= text_.size()) fail("a string has no end");
    return out;
  }

  void utf8(std::string& out) {
    unsigned c = hex();
    if (c >= 0xd800 && c < 0xdc00 && word("\\u")) c = 0x10000 + ((c - 0xd800) << 10) + (hex() - 0xdc00);
    if (c < 0x80) {
      out += static_cast<char>(c);
      return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    out += static_cast<char>((0xf00 >> more & 0xff) | (c >> (6 * more)));
    while (more-- > 0) out += static_cast<char>(0x80 | (c >> (6 * more) & 63));
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

// ---- Numbers ----

float from_half(uint16_t bits) {
  const float sign = bits & 0x8000 ? -1.0f : 1.0f;
  const int exponent = bits >> 10 & 31, part = bits & 1023;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(part), -24);
  if (exponent == 31) return part ? NAN : sign * INFINITY;
  return sign * std::ldexp(1.0f + static_cast<float>(part) / 1024.0f, exponent - 15);
}

uint16_t to_half(float x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const float size = std::fabs(x);
  if (std::isnan(size)) return sign | 0x7e00;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < std::ldexp(1.0f, -14)) return static_cast<uint16_t>(sign | static_cast<int>(std::nearbyint(std::ldexp(size, 24))));
  const int exponent = std::ilogb(size);
  return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + static_cast<int>(std::nearbyint(std::ldexp(size, 10 - exponent)))));
}

float from_bfloat(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &wide, 4);
  return x;
}

struct Type {
  const char* name;
  ONNXTensorElementDataType onnx;
  std::size_t size;
  int low, high;  // codes; 0, 0 where there are none
};

const Type types[] = {
    {"float32", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4, 0, 0},     {"float16", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, 2, 0, 0},
    {"int8", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, 1, -128, 127},    {"uint8", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, 1, 0, 255},
    {"int16", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, 2, -32768, 32767}, {"uint16", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, 2, 0, 65535},
    {"int32", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, 4, 0, 0},
};

const Type& type_of(const std::string& name) {
  for (const Type& t : types)
    if (name == t.name) return t;
  throw Error("ports of " + name + " are not known");
}

// ---- ONNX Runtime ----

const OrtApi& api() {
  static const OrtApi* found = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (!found) throw Error(std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() + " is older than its header");
  return *found;
}

void check(OrtStatus* status) {
  if (!status) return;
  const std::string message = api().GetErrorMessage(status);
  api().ReleaseStatus(status);
  throw Error(message);
}

OrtEnv* environment() {
  static OrtEnv* env = [] {
    // Or ONNX Runtime's own builds send what they load to their maker.
#ifndef _WIN32
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
#endif
    OrtEnv* made = nullptr;
    check(api().CreateEnv(ORT_LOGGING_LEVEL_ERROR, "eisft", &made));
#ifdef _WIN32
    check(api().DisableTelemetryEvents(made));
#endif
    return made;
  }();
  return env;
}

std::size_t count(const std::vector<int64_t>& shape) {
  return static_cast<std::size_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
}

// Tensor holds the values of a port, which stay in place from run to run, as numbers or as
// codes (runtime.md, section 3).
class Tensor {
 public:
  explicit Tensor(const Json& port) : name(port["name"].text), type(type_of(port["dtype"].text)), shape(port["shape"].integers()) {
    if (const Json& e = port["encoding"]) {
      coded_ = true;
      several_ = !e["scale"];
      scale_ = static_cast<float>(e["scale"].number);
      zero_ = static_cast<int>(e["zero_point"].integer());
    }
    count_ = count(shape);
    data.resize(count_ * type.size);
    OrtMemoryInfo* cpu = nullptr;
    check(api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &cpu));
    OrtStatus* made = api().CreateTensorWithDataAsOrtValue(cpu, data.data(), data.size(), shape.data(), shape.size(), type.onnx, &value);
    api().ReleaseMemoryInfo(cpu);
    check(made);
  }
  ~Tensor() { api().ReleaseValue(value); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  std::size_t elements() const { return count_; }

  float number(std::size_t i) const {
    within(i, 1);
    const char* at = data.data() + i * type.size;
    switch (type.onnx) {
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return load<float>(at);
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: return from_half(load<uint16_t>(at));
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: return decoded(load<int8_t>(at));
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: return decoded(load<uint8_t>(at));
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16: return decoded(load<int16_t>(at));
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16: return decoded(load<uint16_t>(at));
      default: return static_cast<float>(load<int32_t>(at));
    }
  }

  void put(std::size_t i, float x) {
    within(i, 1);
    char* at = data.data() + i * type.size;
    switch (type.onnx) {
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: store(at, x); break;
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: store(at, to_half(x)); break;
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: store(at, static_cast<int8_t>(code(x))); break;
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: store(at, static_cast<uint8_t>(code(x))); break;
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16: store(at, static_cast<int16_t>(code(x))); break;
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16: store(at, static_cast<uint16_t>(code(x))); break;
      default: store(at, static_cast<int32_t>(x));
    }
  }

  void put(std::size_t i, const std::vector<float>& numbers) {
    for (float x : numbers) put(i++, x);
  }
  void put_id(std::size_t i, int32_t id) {
    within(i, 1);
    store(data.data() + i * type.size, id);
  }

  std::vector<float> numbers(std::size_t from, std::size_t to) const {
    std::vector<float> out(to - from);
    for (std::size_t i = from; i < to; i++) out[i - from] = number(i);
    return out;
  }

  // copy takes n elements of a tensor of the same type as they are, codes as codes.
  void copy(std::size_t to, const Tensor& other, std::size_t from, std::size_t n) {
    if (other.type.onnx != type.onnx) throw Error(name + " is " + type.name + ", but " + other.name + " is " + other.type.name);
    within(to, n), other.within(from, n);
    std::memmove(data.data() + to * type.size, other.data.data() + from * type.size, n * type.size);
  }

  std::string name;
  const Type& type;
  std::vector<int64_t> shape;
  std::vector<char> data;
  OrtValue* value = nullptr;

 private:
  void within(std::size_t i, std::size_t n) const {
    if (i > elements() || n > elements() - i) throw Error(name + ": element " + std::to_string(i + n) + " of " + std::to_string(elements()));
  }
  template <class T>
  static T load(const char* at) {
    T x;
    std::memcpy(&x, at, sizeof x);
    return x;
  }
  template <class T>
  static void store(char* at, T x) {
    std::memcpy(at, &x, sizeof x);
  }
  void single() const {
    if (!coded_ || several_) throw Error(name + ": its codes have no single scale and can only be copied");
  }
  float decoded(int c) const {
    single();
    return scale_ * static_cast<float>(c - zero_);
  }
  int code(float x) const {
    single();
    const float steps = std::nearbyint(x / scale_);
    return static_cast<int>(std::min(std::max(steps, static_cast<float>(type.low - zero_)), static_cast<float>(type.high - zero_))) + zero_;
  }

  std::size_t count_ = 0;
  bool coded_ = false, several_ = false;
  float scale_ = 1;
  int zero_ = 0;
};

using Shared = std::shared_ptr<Tensor>;

// Part is a loaded file of a graph, with the names of what it reads and makes.
struct Part {
  std::vector<std::string> inputs, outputs;
  OrtSession* session = nullptr;

  Part(const Json& graph, const Json& listed, const std::filesystem::path& folder, const Options& o) {
    const bool whole = graph["parts"].list.size() == 1;
    inputs = names(whole ? graph["inputs"] : listed["inputs"]), outputs = names(whole ? graph["outputs"] : listed["outputs"]);
    OrtSessionOptions* options = nullptr;
    check(api().CreateSessionOptions(&options));
    check(api().SetSessionGraphOptimizationLevel(options, static_cast<GraphOptimizationLevel>(o.level)));
    if (o.threads > 0) check(api().SetIntraOpNumThreads(options, o.threads));
    check(api().AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
    check(api().AddSessionConfigEntry(options, "session.qdq_matmulnbits_accuracy_level", "1"));  // runtime.md, section 1
    OrtStatus* made = api().CreateSession(environment(), (folder / listed["file"].text).c_str(), options, &session);
    api().ReleaseSessionOptions(options);
    check(made);
  }
  ~Part() { api().ReleaseSession(session); }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

  // names are those of ports, or a list of names.
  static std::vector<std::string> names(const Json& ports) {
    std::vector<std::string> out;
    for (const Json& p : ports.list) out.push_back(p.kind == Json::Kind::text ? p.text : p["name"].text);
    return out;
  }
};

// Graph is a loaded graph: one part, or several that run one after another (runtime.md, section 1).
struct Graph {
  Json listed;
  std::vector<std::unique_ptr<Part>> parts;

  Graph(const Json& l, const std::filesystem::path& folder, const Options& o) : listed(l) {
    for (const Json& p : l["parts"].list) parts.push_back(std::make_unique<Part>(l, p, folder, o));
  }

  // find returns the port of a role and a layer, null if there is none.
  const Json& find(const char* side, const std::string& role, int layer = -1) const {
    static const Json none;
    for (const Json& p : listed[side].list)
      if (p["role"].text == role && (p["layer"] ? p["layer"].integer() : -1) == layer) return p;
    return none;
  }
  const Json& input(const std::string& role, int layer = -1) const {
    const Json& p = find("inputs", role, layer);
    if (!p) throw Error(listed["name"].text + " has no input with the role " + role);
    return p;
  }
};

// Bound is a graph with its tensors.
struct Bound {
  const Graph* graph = nullptr;
  std::map<std::string, Shared> inputs, outputs;  // what passes between parts is among the outputs

  const Shared& in(const std::string& role, int layer = -1) const { return inputs.at(graph->input(role, layer)["name"].text); }
  Tensor* out(const std::string& role, int layer = -1) const {
    const Json& p = graph->find("outputs", role, layer);
    return p ? outputs.at(p["name"].text).get() : nullptr;
  }
  void run() const {
    for (const auto& part : graph->parts) {
      std::vector<const char*> names, results;
      std::vector<const OrtValue*> given;
      std::vector<OrtValue*> made;
      for (const std::string& name : part->inputs) {
        const auto found = inputs.find(name);
        names.push_back(name.c_str()), given.push_back((found != inputs.end() ? found->second : outputs.at(name))->value);
      }
      for (const std::string& name : part->outputs) results.push_back(name.c_str()), made.push_back(outputs.at(name)->value);
      check(api().Run(part->session, nullptr, names.data(), given.data(), names.size(), results.data(), results.size(), made.data()));
    }
  }
};

struct Sizes {
  int64_t S, R, W, L;
};

// Counts are what a layer stores (runtime.md, section 4).
struct Counts {
  int64_t sinks, slots, window, recent, left;
  int64_t stored() const { return sinks + slots + window + recent; }
};

Counts counts(const Sizes& s, int64_t read, int64_t committed) {
  Counts c{};
  c.sinks = std::min(s.S, committed);
  c.window = std::min(s.W, committed - c.sinks);
  c.left = committed - c.sinks - c.window;
  c.slots = std::min(s.R, c.left);
  c.recent = read - committed;
  return c;
}

// rank is what slots are chosen by (runtime.md, section 7).
int64_t rank(double score) {
  if (std::isnan(score)) return -(int64_t{1} << 30);
  return static_cast<int64_t>(std::nearbyint(1024.0 * std::max(-1048576.0, std::min(1048576.0, score))));
}

// loss_of is -log β with β = σ(score) (runtime.md, section 7).
double loss_of(double score) { return std::log1p(std::exp(-std::abs(score))) + std::max(-score, 0.0); }

// take converts a tensor's bytes.
template <class From, class To, class Convert>
void take(std::vector<To>& out, const std::string& bytes, Convert convert) {
  out.resize(bytes.size() / sizeof(From));
  for (std::size_t i = 0; i < out.size(); i++) {
    From x;
    std::memcpy(&x, bytes.data() + i * sizeof x, sizeof x);
    out[i] = convert(x);
  }
}

int32_t same(int32_t x) { return x; }

// Kind is a kind of layers.
struct Kind {
  std::string suffix;
  std::vector<int> layers;
  int64_t window = 0, limit = 0;
  Sizes sizes{};
  std::vector<float> frequencies;
  float scale = 1;

  // rotary gives the tables of n consecutive positions [n,m].
  void rotary(int64_t from, int64_t n, std::vector<float>& cos, std::vector<float>& sin) const {
    cos.clear(), sin.clear();
    for (int64_t t = from; t < from + n; t++) {
      for (float f : frequencies) {
        const float angle = static_cast<float>(t) * f;
        cos.push_back(static_cast<float>(std::cos(static_cast<double>(angle))) * scale);
        sin.push_back(static_cast<float>(std::sin(static_cast<double>(angle))) * scale);
      }
    }
  }
};

// Layer is what a stream keeps of a layer.
struct Layer {
  int64_t places = 0;  // C
  Shared keys, values;  // [K,1,d,C], [K,1,C,d]
  bool scored = false;
  std::vector<float> score;    // [K,C]
  std::vector<int32_t> token;  // [K,C] index in the text
};

}  // namespace

Json Json::parse(const std::string& text) { return Parser(text).document(); }

const Json& Json::operator[](const std::string& key) const {
  static const Json none;
  const auto found = object.find(key);
  return found == object.end() ? none : found->second;
}

std::vector<int64_t> Json::integers() const {
  std::vector<int64_t> out;
  for (const Json& v : list) out.push_back(v.integer());
  return out;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) throw Error(path + " cannot be read");
  return text;
}

std::map<std::string, Numbers> read_numbers(const std::string& path) {
  const std::string bytes = read_file(path);
  uint64_t length = 0;
  if (bytes.size() < 8) throw Error(path + " is no safetensors file");
  std::memcpy(&length, bytes.data(), 8);
  if (length > bytes.size() - 8) throw Error(path + " is cut off");
  std::map<std::string, Numbers> out;
  for (const auto& [name, t] : Json::parse(bytes.substr(8, length)).object) {
    if (name == "__metadata__") continue;
    const std::string& type = t["dtype"].text;
    Numbers& n = out[name];
    n.shape = t["shape"].integers();
    const std::size_t from = 8 + length + static_cast<std::size_t>(t["data_offsets"].list.at(0).integer());
    const std::string part = bytes.substr(std::min(from, bytes.size()), static_cast<std::size_t>(t["data_offsets"].list.at(1).integer() - t["data_offsets"].list.at(0).integer()));
    if (type == "F32") take<float>(n.floats, part, [](float x) { return x; });
    else if (type == "F16") take<uint16_t>(n.floats, part, from_half);
    else if (type == "BF16") take<uint16_t>(n.floats, part, from_bfloat);
    else if (type == "I32") take<int32_t>(n.integers, part, same);
    else if (type == "I16") take<int16_t>(n.integers, part, same);
    else if (type == "U16") take<uint16_t>(n.integers, part, same);
    else if (type == "I8") take<int8_t>(n.integers, part, same);
    else if (type == "U8") take<uint8_t>(n.integers, part, same);
    else throw Error(path + ": tensor " + name + " has the type " + type + ", which is not known");
    if (std::max(n.floats.size(), n.integers.size()) != count(n.shape)) throw Error(path + ": tensor " + name + " is cut off");
  }
  return out;
}

int32_t argmax(const std::vector<float>& x) { return static_cast<int32_t>(std::max_element(x.begin(), x.end()) - x.begin()); }

struct Model::Parts {
  Json manifest;
  int64_t tokens = 0;  // T
  int64_t segment = 0, brief = 0;  // L, S+W+L
  int layers = 0, heads = 0, head_dim = 0, vocabulary = 0;
  bool absolute = false, gated = false, decay = false, log_tokens = false;
  float mask = 0, scale = 1;  // scale: of the memory's state
  double empty = 1000;         // tokens that an empty memory stands for
  std::vector<Kind> kinds;
  std::vector<std::size_t> kind_of;
  std::map<std::string, std::unique_ptr<Graph>> graphs;
  Numbers table;              // [V,D], empty where the graphs read ids
  std::vector<float> scales;  // of rows of codes [V]

  const Graph* commit() const {
    const auto found = graphs.find("commit");
    return found == graphs.end() ? nullptr : found->second.get();
  }
  int rows() const { return table.shape.empty() ? vocabulary : static_cast<int>(table.shape[0]); }

  void read_table(const std::string& path) {
    auto tensors = read_numbers(path);
    const auto rows = tensors.find("model.embed_tokens.weight"), scale = tensors.find("model.embed_tokens.weight.scale");
    if (rows == tensors.end() || rows->second.shape.size() != 2) throw Error(path + " has no table");
    table = rows->second;
    if (table.integers.empty()) return;
    if (scale == tensors.end() || scale->second.floats.size() != static_cast<std::size_t>(table.shape[0])) throw Error(path + ": rows of codes need a scale each");
    scales = scale->second.floats;
  }
  float embedding(std::size_t id, std::size_t j) const {
    const std::size_t at = id * static_cast<std::size_t>(table.shape[1]) + j;
    return scales.empty() ? table.floats[at] : static_cast<float>(table.integers[at]) * scales[id];
  }

  void read_kinds(const Json& shape) {
    for (const Json& k : manifest["kinds"].list) {
      Kind kind;
      kind.suffix = k["suffix"].text;
      kind.window = k["window"].integer();
      kind.limit = k["rope"]["limit"].integer();
      kind.sizes = {shape["s"].integer(), k["slotless"].boolean ? 0 : shape["r"].integer(), shape["w"].integer(), shape["l"].integer()};
      for (const Json& f : k["rope"]["inv_freq"].list) kind.frequencies.push_back(static_cast<float>(f.number));
      if (k["rope"]["attention_scale"]) kind.scale = static_cast<float>(k["rope"]["attention_scale"].number);
      for (int64_t l : k["layers"].integers()) {
        if (l < 0 || l >= layers) throw Error("kinds: there is no layer " + std::to_string(l));
        kind.layers.push_back(static_cast<int>(l));
        kind_of[static_cast<std::size_t>(l)] = kinds.size();
      }
      kinds.push_back(kind);
    }
  }
};

Model::Model(const std::string& folder, const Options& o) : parts_(new Parts) {
  Parts& m = *parts_;
  const std::filesystem::path dir = std::filesystem::u8path(folder);
  m.manifest = Json::parse(read_file((dir / "manifest.json").string()));
  const Json* shape = nullptr;
  for (const Json& s : m.manifest["shapes"].list)
    if (!shape && (o.shape.empty() || s["name"].text == o.shape)) shape = &s;
  if (!shape) throw Error(folder + " has no shape " + o.shape);
  const auto& graphs = m.manifest["graphs"].list;
  const std::string precision = o.precision.empty() && !graphs.empty() ? graphs.back()["precision"].text : o.precision;
  for (const Json& g : graphs)
    if (g["shape"].text == (*shape)["name"].text && g["precision"].text == precision) m.graphs[g["kind"].text] = std::make_unique<Graph>(g, dir, o);
  if (!m.graphs.count("prompt") || !m.graphs.count("generation")) {
    std::string known;
    for (const Json& g : graphs)
      if (g["shape"].text == (*shape)["name"].text && g["kind"].text == "generation") known += (known.empty() ? "" : ", ") + g["precision"].text;
    throw Error(folder + " has no graphs in " + precision + "; it has " + known);
  }
  if (m.manifest["features"].integer() > 0 && !m.commit()) throw Error(folder + " has a memory, but no commit graph");

  const Graph& step = *m.graphs["generation"];
  const std::vector<int64_t> key = step.input("key", 0)["shape"].integers();
  m.heads = static_cast<int>(key.at(0)), m.head_dim = static_cast<int>(key.at(2));
  for (const Json& p : step.listed["inputs"].list) m.layers += p["role"].text == "key";
  m.vocabulary = static_cast<int>(step.find("outputs", "logits")["shape"].integers().at(2));
  m.gated = static_cast<bool>(step.find("outputs", "write", 0));
  m.decay = m.manifest["retention_decay"].boolean;
  m.absolute = m.manifest["positions"].text == "absolute";
  m.log_tokens = m.manifest["memory_column"].text == "log_tokens";
  const Json& quantization = m.manifest["quantization"];
  const bool scheme = quantization && (precision == quantization["scheme"].text || precision == quantization["scheme"].text + "+encodings");
  auto of = [&](const char* key) -> const Json& { return scheme && quantization[key] ? quantization[key] : m.manifest[key]; };
  m.mask = static_cast<float>(of("mask_value").number);
  if (const Json& scale = m.manifest["memory_scale"]) m.scale = static_cast<float>(scale.number);
  if (const Json& empty = m.manifest["empty_memory_tokens"]) m.empty = empty.number;
  m.tokens = (*shape)["t"].integer(), m.segment = (*shape)["l"].integer();
  m.brief = (*shape)["s"].integer() + (*shape)["w"].integer() + m.segment;
  m.kind_of.resize(static_cast<std::size_t>(m.layers));
  m.read_kinds(*shape);
  if (const Json& file = of("embeddings")) m.read_table((dir / file.text).string());
}

Model::~Model() = default;
int Model::vocabulary() const { return parts_->vocabulary; }
const Json& Model::manifest() const { return parts_->manifest; }
std::vector<int32_t> Model::stop_ids() const {
  std::vector<int32_t> out;
  for (int64_t id : parts_->manifest["text"]["stop_ids"].integers()) out.push_back(static_cast<int32_t>(id));
  return out;
}

struct Stream::State {
  const Model::Parts& model;
  int64_t read = 0, committed = 0;
  bool held = false;
  std::map<std::string, Bound> bound;
  std::vector<Layer> layers;

  explicit State(const Model::Parts& m) : model(m) {
    for (const char* kind : {"prompt", "generation", "commit"})
      if (m.graphs.count(kind)) bind(kind, *m.graphs.at(kind));
    const Bound& prompt = bound.at("prompt");
    for (int i = 0; i < m.layers; i++) {
      Layer l;
      l.keys = prompt.in("key", i), l.values = prompt.in("value", i);
      l.places = l.keys->shape[3];
      l.scored = m.gated || kind(i).sizes.R > 0;
      l.score.resize(static_cast<std::size_t>(m.heads * l.places));
      l.token.resize(l.score.size());
      layers.push_back(l);
    }
    if (m.absolute) return;
    for (const Kind& k : m.kinds) {
      if (k.frequencies.empty()) continue;
      std::vector<float> cos, sin;
      k.rotary(0, layers[static_cast<std::size_t>(k.layers[0])].places, cos, sin);
      prompt.in("cache_cos" + k.suffix)->put(0, cos);
      prompt.in("cache_sin" + k.suffix)->put(0, sin);
    }
  }

  // bind makes a graph's tensors; caches, their tables and memories are those of the prompt graph.
  void bind(const std::string& kind, const Graph& graph) {
    Bound& b = bound[kind];
    b.graph = &graph;
    for (const Json& p : graph.listed["inputs"].list) {
      const std::string& role = p["role"].text;
      const bool memory = role == "memory" || role == "memory_mass";
      const bool state = memory || (kind != "commit" && (role == "key" || role == "value" || role.rfind("cache_", 0) == 0));
      const std::string& name = p["name"].text;
      b.inputs[name] = state && kind != "prompt" ? bound.at("prompt").inputs.at(name) : std::make_shared<Tensor>(p);
    }
    for (const char* side : {"outputs", "hidden"})
      for (const Json& p : graph.listed[side].list) b.outputs[p["name"].text] = std::make_shared<Tensor>(p);
  }

  const Kind& kind(int layer) const { return model.kinds[model.kind_of[static_cast<std::size_t>(layer)]]; }
  Counts counts_of(const Kind& k) const { return counts(k.sizes, read, committed); }

  int64_t written() const {
    int64_t most = 0;
    for (const Kind& k : model.kinds) {
      const Counts c = counts_of(k);
      most = std::max(most, c.left - c.slots);
    }
    return model.commit() ? most : 0;
  }

  // column is what the mask holds for the memory (runtime.md, section 6).
  float column() const {
    bool left = false;
    for (const Kind& k : model.kinds) left = left || counts_of(k).left > 0;
    if (!left || !model.commit()) return model.mask;
    if (!model.log_tokens) return 0;
    return static_cast<float>(std::log(written() > 0 ? static_cast<double>(written()) : model.empty));
  }

  // view fills mask and rotary tables of a kind of layers (runtime.md, section 6).
  void view(const Bound& b, const Kind& k, int64_t T, int64_t pad) const {
    const int64_t stored = counts_of(k).stored(), from = model.absolute ? read : stored;
    if (k.limit > 0 && from + T - pad > k.limit) throw Error("position " + std::to_string(from + T - pad - 1) + " is out of reach of the base's rotary embedding, which ends at " + std::to_string(k.limit));
    if (!k.frequencies.empty()) {
      std::vector<float> cos, sin;
      k.rotary(from, T - pad, cos, sin);
      const std::size_t at = static_cast<std::size_t>(pad) * k.frequencies.size();
      b.in("position_cos" + k.suffix)->put(at, cos);
      b.in("position_sin" + k.suffix)->put(at, sin);
    }
    Tensor& mask = *b.in("mask" + k.suffix);
    const int64_t C = layers[static_cast<std::size_t>(k.layers[0])].places, width = C + T + 1;
    mask.put(0, model.mask);
    for (std::size_t n = 1; n < mask.elements(); n *= 2) mask.copy(n, mask, 0, std::min(n, mask.elements() - n));
    auto open = [&](int64_t row, int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) mask.put(static_cast<std::size_t>(row * width + i), 0);
    };
    for (int64_t t = 0; t < T; t++) {
      const int64_t place = stored + t - pad, hidden = k.window > 0 ? std::max<int64_t>(0, place + 1 - k.window) : 0;
      open(t, std::min(hidden, stored), stored);
      open(t, C + std::min(pad + std::max<int64_t>(0, hidden - stored), t), C + t + 1);
      mask.put(static_cast<std::size_t>(t * width + width - 1), column());
    }
  }

  // run computes up to T new tokens, which stand at the end, and stores what it made of them.
  std::vector<float> run(const std::string& graph, const int32_t* ids, int64_t n) {
    const Bound& b = bound.at(graph);
    const int64_t T = graph == "prompt" ? model.tokens : 1, pad = T - n;
    for (const Kind& k : model.kinds) view(b, k, T, pad);
    for (int64_t i = 0; i < n; i++) {
      if (model.table.shape.empty()) {
        b.in("ids")->put_id(static_cast<std::size_t>(pad + i), ids[i]);
        continue;
      }
      const std::size_t D = static_cast<std::size_t>(model.table.shape[1]);
      for (std::size_t j = 0; j < D; j++) b.in("embeds")->put(static_cast<std::size_t>(pad + i) * D + j, model.embedding(static_cast<std::size_t>(ids[i]), j));
    }
    b.run();
    append(b, T, pad);
    read += n;
    const Tensor* logits = b.out("logits");
    if (!logits) return {};
    const std::size_t end = logits->elements();
    return logits->numbers(end - static_cast<std::size_t>(model.vocabulary), end);
  }

  void append(const Bound& b, int64_t T, int64_t pad) {
    const int64_t d = model.head_dim, n = T - pad;
    for (int i = 0; i < model.layers; i++) {
      Layer& l = layers[static_cast<std::size_t>(i)];
      const int64_t C = l.places, at = counts_of(kind(i)).stored();
      const Tensor &keys = *b.out("key", i), &values = *b.out("value", i);
      const Tensor* score = l.scored ? b.out(model.gated ? "write" : "retention", i) : nullptr;
      for (int64_t h = 0; h < model.heads; h++) {
        for (int64_t e = h * d; e < (h + 1) * d; e++) l.keys->copy(static_cast<std::size_t>(e * C + at), keys, static_cast<std::size_t>(e * T + pad), static_cast<std::size_t>(n));
        l.values->copy(static_cast<std::size_t>((h * C + at) * d), values, static_cast<std::size_t>((h * T + pad) * d), static_cast<std::size_t>(n * d));
        for (int64_t t = 0; t < n; t++) {
          const std::size_t to = static_cast<std::size_t>(h * C + at + t);
          l.token[to] = static_cast<int32_t>(read + t);
          if (score) l.score[to] = score->number(static_cast<std::size_t>(h * T + pad + t));
        }
      }
    }
  }

  // commit ends the segments that are complete (runtime.md, section 7).
  void commit() {
    while (!held && read - committed >= model.segment) {
      const int64_t before = written();
      std::vector<Counts> was;
      for (int i = 0; i < model.layers; i++) was.push_back(counts_of(kind(i)));
      committed += model.segment;
      const int64_t after = written();
      for (int i = 0; i < model.layers; i++) turn_over(i, was[static_cast<std::size_t>(i)], counts_of(kind(i)), after);
      if (after > before) write(static_cast<float>(before) / static_cast<float>(after));
    }
  }

  // turn_over moves a layer's stored tokens up and lays out what its memory takes up.
  void turn_over(int i, const Counts& was, const Counts& is, int64_t after) {
    const Layer& l = layers[static_cast<std::size_t>(i)];
    const int64_t first = is.sinks, candidates = was.slots + is.left - was.left, stay = is.slots;
    for (int64_t h = 0; h < model.heads; h++) {
      std::vector<int64_t> places(static_cast<std::size_t>(candidates));
      std::iota(places.begin(), places.end(), first);
      if (stay > 0 && stay < candidates) {
        auto of = [&](int64_t p) {
          const double score = l.score[static_cast<std::size_t>(h * l.places + p)];
          return rank(model.decay ? -std::log(age(l, h, p) * loss_of(score)) : score);
        };
        std::sort(places.begin(), places.end(), [&](int64_t a, int64_t b) { return of(a) != of(b) ? of(a) > of(b) : a < b; });
      }
      std::sort(places.begin(), places.begin() + stay);
      std::sort(places.begin() + stay, places.end());
      if (model.commit()) evict(i, h, {places.begin() + stay, places.end()}, after);
      places.resize(static_cast<std::size_t>(stay));
      for (int64_t p = first + candidates; p < was.stored(); p++) places.push_back(p);
      move(i, h, first, places);
    }
  }

  // age is that of the token in a head's place after a commit (runtime.md, section 7).
  double age(const Layer& l, int64_t h, int64_t p) const { return static_cast<double>(committed - l.token[static_cast<std::size_t>(h * l.places + p)]); }

  // move makes the given places of a head follow each other from place `at` on.
  void move(int i, int64_t h, int64_t at, const std::vector<int64_t>& places) {
    Layer& l = layers[static_cast<std::size_t>(i)];
    const int64_t C = l.places, d = model.head_dim;
    for (int64_t p : places) {
      const int64_t to = at++;
      if (to == p) continue;
      for (int64_t e = h * d; e < (h + 1) * d; e++) l.keys->copy(static_cast<std::size_t>(e * C + to), *l.keys, static_cast<std::size_t>(e * C + p), 1);
      l.values->copy(static_cast<std::size_t>((h * C + to) * d), *l.values, static_cast<std::size_t>((h * C + p) * d), static_cast<std::size_t>(d));
      l.token[static_cast<std::size_t>(h * C + to)] = l.token[static_cast<std::size_t>(h * C + p)];
      l.score[static_cast<std::size_t>(h * C + to)] = l.score[static_cast<std::size_t>(h * C + p)];
    }
  }

  // evict lays a head's places out for the commit graph (runtime.md, section 8).
  void evict(int i, int64_t h, const std::vector<int64_t>& places, int64_t after) {
    const Layer& l = layers[static_cast<std::size_t>(i)];
    const Bound& b = bound.at("commit");
    Tensor &keys = *b.in("key", i), &values = *b.in("value", i), &weights = *b.in("weight", i);
    const int64_t C = l.places, L = model.segment, d = model.head_dim;
    const float share = model.scale / static_cast<float>(after);
    for (int64_t j = 0; j < L; j++) weights.put(static_cast<std::size_t>(h * L + j), 0);
    for (std::size_t j = 0; j < places.size(); j++) {
      const int64_t p = places[j], to = h * L + static_cast<int64_t>(j);
      for (int64_t e = 0; e < d; e++) keys.copy(static_cast<std::size_t>((h * d + e) * L) + j, *l.keys, static_cast<std::size_t>((h * d + e) * C + p), 1);
      values.copy(static_cast<std::size_t>(to * d), *l.values, static_cast<std::size_t>((h * C + p) * d), static_cast<std::size_t>(d));
      float weight = share;
      if (l.scored) {
        const double sign = model.gated ? 1 : -1, score = l.score[static_cast<std::size_t>(h * C + p)];
        weight *= static_cast<float>(model.decay ? -std::expm1(-age(l, h, p) * loss_of(score)) : 1 / (1 + std::exp(-sign * score)));
      }
      weights.put(static_cast<std::size_t>(to), weight);
      if (model.absolute) unrotate(kind(i), keys, h, static_cast<int64_t>(j), l.token[static_cast<std::size_t>(h * C + p)]);
    }
  }

  // unrotate takes the rotary embedding of a position off the key of a place.
  void unrotate(const Kind& k, Tensor& keys, int64_t h, int64_t j, int64_t position) const {
    std::vector<float> cos, sin;
    k.rotary(position, 1, cos, sin);
    const std::size_t m = k.frequencies.size();
    auto at = [&](std::size_t e) { return (static_cast<std::size_t>(h * model.head_dim) + e) * static_cast<std::size_t>(model.segment) + static_cast<std::size_t>(j); };
    const float square = k.scale * k.scale;
    for (std::size_t e = 0; e < m; e++) {
      const float x = keys.number(at(e)), y = keys.number(at(e + m));
      keys.put(at(e), (x * cos[e] + y * sin[e]) / square);
      keys.put(at(e + m), (y * cos[e] - x * sin[e]) / square);
    }
  }

  // write runs the commit graph; the memory as it was counts for decay.
  void write(float decay) {
    const Bound& b = bound.at("commit");
    b.in("decay")->put(0, decay);
    b.run();
    for (int i = 0; i < model.layers; i++)
      for (const char* role : {"memory", "memory_mass"}) b.in(role, i)->copy(0, *b.out(role, i), 0, b.out(role, i)->elements());
  }

  // stretch reads tokens of one segment.
  std::vector<float> stretch(const int32_t* ids, int64_t n, bool last) {
    if (!bound.at("prompt").out("logits") && last && n > 1) {  // the generation graph has the logits
      run("prompt", ids, n - 1);
      ids += n - 1, n = 1;
    }
    return run(n == 1 ? "generation" : "prompt", ids, n);
  }
};

Stream::Stream(const Model& model) : state_(new State(*model.parts_)) {}
Stream::~Stream() = default;

std::vector<float> Stream::feed(const std::vector<int32_t>& ids) {
  State& s = *state_;
  const auto& m = s.model;
  for (int32_t id : ids)
    if (id < 0 || id >= m.rows()) throw Error("token " + std::to_string(id) + " is not in the vocabulary of " + std::to_string(m.rows()) + " entries");
  if (ids.empty()) throw Error("there is nothing to read");
  const int64_t total = static_cast<int64_t>(ids.size());
  if (s.read == 0) s.held = total <= m.brief;
  std::vector<float> logits;
  for (int64_t done = 0; done < total;) {
    if (s.held && s.read >= m.brief) s.held = false;
    s.commit();
    const int64_t room = s.held ? std::min(m.segment, m.brief - s.read) : m.segment - (s.read - s.committed);
    const int64_t n = std::min(room, total - done);
    logits = s.stretch(ids.data() + done, n, done + n == total);
    s.commit();
    done += n;
  }
  return logits;
}

std::vector<int32_t> Stream::generate(std::vector<float> logits, std::size_t most, const std::vector<int32_t>& stop) {
  std::vector<int32_t> out;
  while (out.size() < most) {
    const int32_t id = argmax(logits);
    if (std::find(stop.begin(), stop.end(), id) != stop.end()) break;
    out.push_back(id);
    if (out.size() < most) logits = feed({id});
  }
  return out;
}

int64_t Stream::read() const { return state_->read; }
int64_t Stream::committed() const { return state_->committed; }
bool Stream::held() const { return state_->held; }
int64_t Stream::written() const { return state_->written(); }

std::vector<int32_t> Stream::slots(int layer) const {
  const Layer& l = state_->layers[static_cast<std::size_t>(layer)];
  const Counts c = state_->counts_of(state_->kind(layer));
  std::vector<int32_t> out;
  for (int64_t h = 0; h < state_->model.heads; h++)
    for (int64_t p = c.sinks; p < c.sinks + c.slots; p++) out.push_back(l.token[static_cast<std::size_t>(h * l.places + p)]);
  return out;
}

std::pair<std::vector<float>, std::vector<float>> Stream::memory(int layer) const {
  if (!state_->model.commit()) return {};
  const Tensor &memory = *state_->bound.at("commit").in("memory", layer), &mass = *state_->bound.at("commit").in("memory_mass", layer);
  std::pair<std::vector<float>, std::vector<float>> means{memory.numbers(0, memory.elements()), mass.numbers(0, mass.elements())};
  for (float& x : means.first) x /= state_->model.scale;
  for (float& x : means.second) x /= state_->model.scale;
  return means;
}

}  // namespace eisft
