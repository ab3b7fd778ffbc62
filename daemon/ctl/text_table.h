// Tables for people: columns as wide as their widest cell, two spaces apart, no trailing blanks.
#pragma once
#include <string>
#include <vector>

namespace edgemeshd {
using TextRow = std::vector<std::string>;
std::string text_table(const TextRow& head, const std::vector<TextRow>& rows);
}  // namespace edgemeshd
