// HTTP messages as values: what the codecs give and take. Field names compare without case (RFC 9110 §5.1); HTTP/2 pseudo
// fields (":path") live in the same list in front. Bodies here are whole and bounded; streams of data go through the codecs.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace base {

struct Header {
  std::string name, value;
  bool operator==(const Header&) const = default;
};

class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<Header> l) : list_(l) {}
  void add(std::string name, std::string value) { list_.push_back({std::move(name), std::move(value)}); }
  void set(std::string_view name, std::string value);           // replaces every field of that name
  const std::string* find(std::string_view name) const;         // the first of that name
  std::string_view get(std::string_view name) const;            // "" when absent
  size_t count(std::string_view name) const;
  size_t size() const { return list_.size(); }
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }

 private:
  std::vector<Header> list_;
};

struct Request {
  std::string method = "GET", target = "/";
  Headers headers;
  std::string body;
  std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
  std::string_view query() const;  // without '?'; "" when absent
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
  static Response text(int status, std::string body) { return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(body)}; }
  static Response json(std::string body) { return {200, {{"Content-Type", "application/json"}}, std::move(body)}; }
};

std::string_view reason_phrase(int status);
bool equal_nocase(std::string_view a, std::string_view b);
bool is_token(std::string_view);        // RFC 9110 §5.6.2
bool is_field_value(std::string_view);  // no CR, LF, NUL or other control but tab

}  // namespace base
