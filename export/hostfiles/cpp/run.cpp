// Reads token ids, one text a line, from standard input and writes those of the answers:
//   run [FOLDER [PRECISION [MOST [stop]]]]
// MOST is how many tokens are written at most; with "stop", the folder's stop ids end an answer.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>

#include "eisft.hpp"

int main(int argc, char** argv) try {
  eisft::Options options;
  if (argc > 2) options.precision = argv[2];
  const std::size_t most = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 256;
  const eisft::Model model(argc > 1 ? argv[1] : "..", options);
  const std::vector<int32_t> stop = argc > 4 ? model.stop_ids() : std::vector<int32_t>{};
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::vector<int32_t> ids;
    for (int32_t id; words >> id;) ids.push_back(id);
    eisft::Stream stream(model);
    for (int32_t id : stream.generate(stream.feed(ids), most, stop)) std::cout << id << ' ';
    std::cout << std::endl;
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "run: %s\n", e.what());
  return 1;
}
