#include "daemon/ctl/text_table.h"

#include <algorithm>

namespace edgemeshd {

std::string text_table(const TextRow& head, const std::vector<TextRow>& rows) {
  std::vector<size_t> width(head.size());
  auto measure = [&](const TextRow& r) {
    for (size_t i = 0; i < r.size() && i < width.size(); i++) width[i] = std::max(width[i], r[i].size());
  };
  measure(head);
  for (const TextRow& r : rows) measure(r);
  std::string out;
  auto print = [&](const TextRow& r) {
    std::string line;
    for (size_t i = 0; i < r.size(); i++) {
      line += r[i];
      if (i + 1 < r.size()) line.append(width[i] - r[i].size() + 2, ' ');
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + "\n";
  };
  print(head);
  for (const TextRow& r : rows) print(r);
  return out;
}

}  // namespace edgemeshd
