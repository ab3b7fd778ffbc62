#include "base/http/message.h"

#include <algorithm>
#include <cstdint>

namespace base {
namespace {
char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }
bool is_alnum(char c) { return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z'); }
}  // namespace

void Headers::set(std::string_view name, std::string value) {
  std::erase_if(list_, [&](auto& h) { return equal_nocase(h.name, name); });
  add(std::string(name), std::move(value));
}

const std::string* Headers::find(std::string_view name) const {
  for (auto& h : list_)
    if (equal_nocase(h.name, name)) return &h.value;
  return nullptr;
}

std::string_view Headers::get(std::string_view name) const {
  auto* v = find(name);
  return v ? std::string_view(*v) : std::string_view();
}

size_t Headers::count(std::string_view name) const {
  return size_t(std::count_if(list_.begin(), list_.end(), [&](auto& h) { return equal_nocase(h.name, name); }));
}

std::string_view Request::query() const {
  auto at = target.find('?');
  return at == std::string::npos ? std::string_view() : std::string_view(target).substr(at + 1);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
  }
}

bool equal_nocase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

bool is_token(std::string_view s) {
  constexpr std::string_view kOther = "!#$%&'*+-.^_`|~";
  return !s.empty() && std::all_of(s.begin(), s.end(), [&](char c) { return is_alnum(c) || kOther.find(c) != std::string_view::npos; });
}

bool is_field_value(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return c == '\t' || (uint8_t(c) >= 0x20 && c != 0x7f); });
}

}  // namespace base
