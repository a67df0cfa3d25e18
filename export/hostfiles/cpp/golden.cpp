// Holds the host to the golden vectors of its folder (runtime.md, section 11):
//   golden [FOLDER [PRECISION]]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>

#include "eisft.hpp"

namespace {

struct Compared {
  int calls = 0, same = 0;
  std::size_t count = 0, slots = 0, same_slots = 0;
  double largest = 0, sum = 0, memory = 0;
  std::string wrong;

  void fail(const std::string& what) {
    if (wrong.empty()) wrong = what;
  }
  void state(const std::vector<float>& got, const std::vector<float>& want) {
    double most = 0, differs = 0;
    for (std::size_t i = 0; i < want.size(); i++) {
      most = std::max(most, std::fabs(static_cast<double>(want[i])));
      const double d = i < got.size() ? std::fabs(static_cast<double>(want[i]) - got[i]) : INFINITY;
      if (!(d <= differs)) differs = d;
    }
    const double share = most > 0 ? differs / most : differs;
    if (!(share <= memory)) memory = share;
  }
};

using Tensors = std::map<std::string, eisft::Numbers>;

void layer(Compared& c, const eisft::Stream& stream, const Tensors& tensors, const std::string& call, int l) {
  const std::string suffix = "." + std::to_string(l);
  if (const auto slots = tensors.find(call + ".slots" + suffix); slots != tensors.end()) {
    const std::vector<int32_t> got = stream.slots(l), &want = slots->second.integers;
    const std::size_t n = static_cast<std::size_t>(slots->second.shape[1]);
    c.slots += want.size();
    if (got.size() != want.size()) return c.fail(call + ": " + std::to_string(got.size()) + " slots, want " + std::to_string(want.size()));
    for (std::size_t i = 0; i < want.size(); i++) c.same_slots += std::count(want.begin() + static_cast<long>(i / n * n), want.begin() + static_cast<long>(i / n * n + n), got[i]) > 0;
  }
  if (const auto memory = tensors.find(call + ".memory" + suffix); memory != tensors.end()) {
    const auto [matrix, mass] = stream.memory(l);
    c.state(matrix, memory->second.floats);
    c.state(mass, tensors.at(call + ".memory_mass" + suffix).floats);
  }
}

bool replay(const std::string& folder, const eisft::Json& listed) {
  const eisft::Json steps = eisft::Json::parse(eisft::read_file(folder + "/" + listed["steps"].text));
  const Tensors tensors = eisft::read_numbers(folder + "/" + listed["tensors"].text);
  if (steps["format"].integer() != 1) throw eisft::Error(listed["steps"].text + " is of another format");
  eisft::Options options;
  options.shape = listed["shape"].text, options.precision = listed["precision"].text;
  const eisft::Model model(folder, options);
  const std::vector<int32_t>& wanted = tensors.at("logit_ids").integers;
  Compared c;
  for (const eisft::Json& sequence : steps["sequences"].list) {
    const std::string& name = sequence["name"].text;
    const std::vector<int32_t>& ids = tensors.at(name + ".ids").integers;
    const std::vector<float>& logits = tensors.at(name + ".logits").floats;
    eisft::Stream stream(model);
    for (std::size_t i = 0; i < sequence["calls"].list.size(); i++) {
      const eisft::Json& call = sequence["calls"].list[i];
      const std::string at = name + "." + std::to_string(i);
      const std::vector<float> row = stream.feed({ids.begin() + (call["read"].integer() - call["tokens"].integer()), ids.begin() + call["read"].integer()});
      for (std::size_t j = 0; j < wanted.size(); j++) {
        const double d = std::fabs(static_cast<double>(row.at(static_cast<std::size_t>(wanted[j]))) - logits.at(i * wanted.size() + j));
        c.sum += d, c.count++;
        if (!(d <= c.largest)) c.largest = d;
      }
      c.calls++;
      c.same += eisft::argmax(row) == tensors.at(name + ".best").integers.at(i);
      if (stream.read() != call["read"].integer() || stream.committed() != call["committed"].integer() || stream.held() != call["held"].boolean || stream.written() != call["written"].integer())
        c.fail(at + ": read " + std::to_string(stream.read()) + ", committed " + std::to_string(stream.committed()) + ", held " + std::to_string(stream.held()) + ", written " + std::to_string(stream.written()) + " are not what they should be");
      if (call["state"].boolean)
        for (int64_t l : steps["layers"].integers()) layer(c, stream, tensors, at, static_cast<int>(l));
    }
  }
  const eisft::Json& t = steps["tolerance"];
  const double max = t["logits"]["max"].number, mean = t["logits"]["mean"].number, average = c.sum / static_cast<double>(std::max<std::size_t>(1, c.count));
  if (!(c.largest <= max && average <= mean)) c.fail("logits differ by more than the tolerance");
  if (!(c.memory <= t["memory"].number)) c.fail("memories differ by more than the tolerance");
  if (static_cast<double>(c.same_slots) < t["slots"].number * static_cast<double>(c.slots)) c.fail("other tokens are in the slots");
  std::printf("%s %s: %d of %d tokens equal, logits max %.2g (allowed %.2g), mean %.2g (%.2g), memory %.2g (%.2g), %zu of %zu slots equal\n",
              options.shape.c_str(), options.precision.c_str(), c.same, c.calls, c.largest, max, average, mean, c.memory, t["memory"].number, c.same_slots, c.slots);
  if (!c.wrong.empty()) std::fprintf(stderr, "%s %s: FAILED: %s\n", options.shape.c_str(), options.precision.c_str(), c.wrong.c_str());
  return c.wrong.empty();
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string folder = argc > 1 ? argv[1] : "..";
  const eisft::Json manifest = eisft::Json::parse(eisft::read_file(folder + "/manifest.json"));
  bool passed = true;
  int ran = 0;
  for (const eisft::Json& listed : manifest["golden"].list) {
    if (argc > 2 && listed["precision"].text != argv[2]) continue;
    ran++;
    passed = replay(folder, listed) && passed;
  }
  if (ran == 0) throw eisft::Error(folder + " has no golden vectors for the graphs asked for");
  return passed ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "golden: %s\n", e.what());
  return 1;
}
