// Reads token ids, one text a line, from standard input and writes those of the answers:
//   run [FOLDER [PRECISION [MOST [stop]]]]
// MOST is how many tokens are written at most; with "stop", the folder's stop ids end an answer.
// It ends at the first line that holds anything but ids.
#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>

#include "eisft.hpp"

namespace {

// number reads a whole number that fits into an int32_t.
int32_t number(const std::string& word, const std::string& what) {
  int32_t value = 0;
  std::istringstream in(word);
  if (!(in >> value) || in.peek() != std::istringstream::traits_type::eof()) throw eisft::Error(what + " is " + word + "; want a whole number of at most 2147483647");
  return value;
}

}  // namespace

int main(int argc, char** argv) try {
  eisft::Options options;
  if (argc > 2) options.precision = argv[2];
  const int32_t most = argc > 3 ? number(argv[3], "MOST") : 256;
  if (most < 1) throw eisft::Error("MOST is " + std::to_string(most) + "; want at least 1");
  if (argc > 4 && std::string(argv[4]) != "stop") throw eisft::Error(std::string("the fourth word is ") + argv[4] + "; want stop, or nothing");
  const eisft::Model model(argc > 1 ? argv[1] : "..", options);
  const std::vector<int32_t> stop = argc > 4 ? model.stop_ids() : std::vector<int32_t>{};
  int at = 0;
  for (std::string line; std::getline(std::cin, line);) {
    at++;
    std::istringstream words(line);
    std::vector<int32_t> ids;
    for (std::string word; words >> word;) ids.push_back(number(word, "line " + std::to_string(at) + ", id " + std::to_string(ids.size() + 1)));
    eisft::Stream stream(model);
    for (int32_t id : stream.generate(stream.feed(ids), static_cast<std::size_t>(most), stop)) std::cout << id << ' ';
    std::cout << std::endl;
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "run: %s\n", e.what());
  return 1;
}
