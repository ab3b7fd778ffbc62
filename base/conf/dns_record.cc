#include "base/conf/dns_record.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/net/addr.h"

namespace base::conf {
namespace {

constexpr uint32_t kTtlMax = 7 * 24 * 3600;
constexpr size_t kTextMax = 255;

enum class Word { v4, v6, name, u16 };
const std::map<std::string_view, std::vector<Word>> kTypes = {
    {"A", {Word::v4}}, {"AAAA", {Word::v6}}, {"CNAME", {Word::name}}, {"MX", {Word::u16, Word::name}}, {"NS", {Word::name}},
    {"PTR", {Word::name}}, {"SRV", {Word::u16, Word::u16, Word::u16, Word::name}}};

struct Token {
  std::string text;
  bool quoted = false;
};

Result<std::vector<Token>> words_of(std::string_view line) {
  std::vector<Token> out;
  for (size_t at = 0; (at = line.find_first_not_of(" \t", at)) != line.npos;) {
    bool quoted = line[at] == '"';
    size_t end = quoted ? line.find('"', at + 1) : line.find_first_of(" \t", at);
    if (quoted && end == line.npos) return fail(Code::invalid, "has a quotation mark that is not closed");
    if (end == line.npos) end = line.size();
    out.push_back({std::string(line.substr(at + quoted, end - at - quoted)), quoted});
    at = end + quoted;
  }
  return out;
}

bool is_number(std::string_view s, uint32_t most) {
  uint32_t v = 0;
  auto [p, ec] = std::from_chars(s.data(), s.data() + s.size(), v);
  return ec == std::errc() && p == s.data() + s.size() && v <= most;
}

std::string relative_trouble(std::string_view name) { return name == "@" ? "" : dns_name_trouble(name); }

std::string word_trouble(Word kind, const std::string& w) {
  auto ip = IpAddr::parse(w);
  switch (kind) {
    case Word::v4: return ip && ip->is_v4() ? "" : "is not an IPv4 address";
    case Word::v6: return ip && !ip->is_v4() ? "" : "is not an IPv6 address";
    case Word::u16: return is_number(w, 65535) ? "" : "is not a number from 0 to 65535";
    case Word::name: return relative_trouble(w);
  }
  return "";
}

std::string upper(std::string s) {
  for (char& c : s) c = char(std::toupper(uint8_t(c)));
  return s;
}

Result<void> check_data(const DnsRecord& r) {
  if (r.type == "TXT") {
    for (auto& d : r.data)
      if (d.size() > kTextMax) return fail(Code::invalid, "has a text longer than 255 characters; divide it into several");
    return r.data.empty() ? Result<void>(fail(Code::invalid, "has no text behind TXT")) : Result<void>();
  }
  auto it = kTypes.find(r.type);
  if (it == kTypes.end()) return fail(Code::invalid, "has the type \"{}\"; known are A, AAAA, CNAME, MX, NS, PTR, SRV and TXT", r.type);
  if (r.data.size() != it->second.size()) return fail(Code::invalid, "has {} words behind {}; it takes {}", r.data.size(), r.type, it->second.size());
  for (size_t i = 0; i < r.data.size(); i++)
    if (auto t = word_trouble(it->second[i], r.data[i]); !t.empty()) return fail(Code::invalid, "\"{}\" {}", r.data[i], t);
  return {};
}

}  // namespace

std::string dns_name_trouble(std::string_view s) {
  if (s.ends_with('.')) s.remove_suffix(1);
  if (s.starts_with("*.") || s == "*") s.remove_prefix(std::min<size_t>(2, s.size()));
  if (s.size() > 253) return "is longer than 253 characters";
  size_t label = 0;
  for (size_t i = 0; i <= s.size(); i++) {
    if (i < s.size() && s[i] != '.') {
      if (!std::isalnum(uint8_t(s[i])) && s[i] != '-' && s[i] != '_') return "may hold only letters, digits, '-', '_' and '.'";
      label++;
      continue;
    }
    if (!s.empty() && (label == 0 || label > 63)) return "is not a domain name: each part has 1 to 63 characters";
    label = 0;
  }
  return "";
}

Result<DnsRecord> parse_dns_record(std::string_view line) {
  EM_TRY_ASSIGN(auto words, words_of(line));
  if (words.size() < 3) return fail(Code::invalid, "is not \"<name> [<ttl>] <type> <data>\"");
  DnsRecord r{.name = words[0].text};
  if (auto t = relative_trouble(r.name); !t.empty()) return fail(Code::invalid, "\"{}\" {}", r.name, t);
  size_t at = 1;
  if (is_number(words[at].text, kTtlMax)) r.ttl = uint32_t(std::stoul(words[at++].text));
  if (at < words.size() && upper(words[at].text) == "IN") at++;
  if (at >= words.size()) return fail(Code::invalid, "has no type");
  r.type = upper(words[at++].text);
  for (; at < words.size(); at++) r.data.push_back(words[at].text);
  EM_TRY(check_data(r));
  return r;
}

}  // namespace base::conf
