#include "base/http/h1_codec.h"

#include <algorithm>
#include <charconv>

namespace base {
namespace {

std::string_view trim(std::string_view s) {  // OWS
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

std::optional<uint64_t> parse_number(std::string_view s, int base_of) {
  uint64_t v = 0;
  if (s.empty() || s.size() > 16) return {};
  auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), v, base_of);
  if (ec != std::errc() || end != s.data() + s.size()) return {};
  return v;
}

bool is_target(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return uint8_t(c) > 0x20 && uint8_t(c) < 0x7f; });
}

// "close" among the comma-separated words of every Connection field.
bool has_connection_word(const Headers& h, std::string_view word) {
  for (auto& f : h) {
    if (!equal_nocase(f.name, "connection")) continue;
    std::string_view rest = f.value;
    while (!rest.empty()) {
      auto comma = rest.find(',');
      if (equal_nocase(trim(rest.substr(0, comma)), word)) return true;
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    }
  }
  return false;
}

bool is_framing(std::string_view name) {
  return equal_nocase(name, "content-length") || equal_nocase(name, "transfer-encoding") || equal_nocase(name, "connection");
}

void append_fields(std::string& out, const Headers& headers) {
  for (auto& h : headers)
    if (is_token(h.name) && is_field_value(h.value) && !is_framing(h.name)) out += h.name + ": " + h.value + "\r\n";
}

}  // namespace

tl::unexpected<Error> H1Parser::refuse(int status, std::string why) {
  error_status_ = status;
  return fail(status == 413 || status == 431 ? Code::limit : Code::invalid, "HTTP/1.1: {}", why);
}

void H1Parser::next_message() {
  state_ = State::start;
  line_.clear();
  head_bytes_ = 0;
  left_ = 0;
  no_body_ = false;
  request_ = {};
  response_ = {};
}

Result<size_t> H1Parser::feed(ByteView in) {
  size_t used = 0;
  while (used < in.size() && state_ != State::done) {
    bool in_body = state_ == State::body_length || state_ == State::body_until_close || state_ == State::chunk_data;
    EM_TRY_ASSIGN(size_t n, in_body ? take_body(in.subspan(used)) : take_line(in.subspan(used)));
    used += n;
  }
  return used;
}

Result<void> H1Parser::finish() {
  if (state_ == State::body_until_close) {
    state_ = State::done;
    return {};
  }
  if (idle() || state_ == State::done) return {};
  return refuse(400, "the connection closed in the middle of a message");
}

Result<size_t> H1Parser::take_line(ByteView in) {
  auto nl = std::find(in.begin(), in.end(), uint8_t('\n'));
  size_t n = size_t(nl - in.begin()) + (nl != in.end() ? 1 : 0);
  head_bytes_ += n;
  if (head_bytes_ > limits_.header_bytes) return refuse(431, fmt::format("more than {} bytes of header", limits_.header_bytes));
  line_.append(as_text(in.first(n)));
  if (nl == in.end()) return n;
  if (line_.size() < 2 || line_[line_.size() - 2] != '\r') return refuse(400, "a line ends without CR");
  line_.resize(line_.size() - 2);
  EM_TRY(on_line());
  line_.clear();
  return n;
}

Result<size_t> H1Parser::take_body(ByteView in) {
  size_t n = state_ == State::body_until_close ? in.size() : size_t(std::min<uint64_t>(left_, in.size()));
  if (body().size() + n > limits_.body_bytes) return refuse(413, fmt::format("more than {} bytes of body", limits_.body_bytes));
  body().append(as_text(in.first(n)));
  if (state_ == State::body_until_close) return n;
  left_ -= n;
  if (left_ == 0) state_ = state_ == State::chunk_data ? State::chunk_end : State::done;
  return n;
}

Result<void> H1Parser::on_line() {
  switch (state_) {
    case State::start:
      if (line_.empty()) return {};  // RFC 9112 §2.2: an empty line before a message; bounded by header_bytes
      EM_TRY(kind_ == Kind::request ? on_request_line(line_) : on_status_line(line_));
      state_ = State::fields;
      return {};
    case State::fields: return line_.empty() ? on_head_end() : on_field(line_);
    case State::chunk_size: return on_chunk_size(line_);
    case State::chunk_end:
      if (!line_.empty()) return refuse(400, "a chunk is longer than its size");
      head_bytes_ = 0;
      state_ = State::chunk_size;
      return {};
    case State::trailers:  // read and dropped
      if (line_.empty()) state_ = State::done;
      else if (line_.find(':') == std::string::npos) return refuse(400, "a malformed trailer");
      return {};
    default: return refuse(500, "out of step");
  }
}

Result<void> H1Parser::set_version(std::string_view v) {
  if (v.size() != 8 || !v.starts_with("HTTP/") || v[6] != '.') return refuse(400, "a malformed version");
  if (v != "HTTP/1.1" && v != "HTTP/1.0") return refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  is_11_ = v == "HTTP/1.1";
  return {};
}

Result<void> H1Parser::on_request_line(std::string_view l) {
  auto a = l.find(' '), b = l.rfind(' ');
  if (a == std::string_view::npos || a == b) return refuse(400, "a malformed request line");
  request_.method = std::string(l.substr(0, a));
  request_.target = std::string(l.substr(a + 1, b - a - 1));
  if (!is_token(request_.method) || !is_target(request_.target)) return refuse(400, "a malformed request line");
  return set_version(l.substr(b + 1));
}

Result<void> H1Parser::on_status_line(std::string_view l) {
  if (l.size() < 12 || l[8] != ' ' || (l.size() > 12 && l[12] != ' ')) return refuse(400, "a malformed status line");
  EM_TRY(set_version(l.substr(0, 8)));
  auto status = parse_number(l.substr(9, 3), 10);
  if (!status || *status < 100 || *status > 599 || !is_field_value(l)) return refuse(400, "a malformed status line");
  response_.status = int(*status);
  return {};
}

Result<void> H1Parser::on_field(std::string_view l) {
  if (l[0] == ' ' || l[0] == '\t') return refuse(400, "a folded field");
  auto colon = l.find(':');
  if (colon == std::string_view::npos || !is_token(l.substr(0, colon))) return refuse(400, "a malformed field name");
  auto value = trim(l.substr(colon + 1));
  if (!is_field_value(value)) return refuse(400, "a control character in a field value");
  if (headers().size() == limits_.headers) return refuse(431, fmt::format("more than {} fields", limits_.headers));
  headers().add(std::string(l.substr(0, colon)), std::string(value));
  return {};
}

Result<void> H1Parser::on_head_end() {
  if (kind_ == Kind::request && (headers().count("host") > 1 || (is_11_ && headers().count("host") == 0)))
    return refuse(400, "not exactly one Host field");
  keep_alive_ = is_11_ ? !has_connection_word(headers(), "close") : has_connection_word(headers(), "keep-alive");
  return choose_framing();
}

// RFC 9112 §6.3.
Result<void> H1Parser::choose_framing() {
  size_t te = headers().count("transfer-encoding"), cl = headers().count("content-length");
  if (te > 0 && cl > 0) return refuse(400, "both Content-Length and Transfer-Encoding");
  if (cl > 1) return refuse(400, "more than one Content-Length");
  if (te > 0 && !is_11_) return refuse(400, "Transfer-Encoding in HTTP/1.0");
  if (te > 1 || (te == 1 && !equal_nocase(headers().get("transfer-encoding"), "chunked")))
    return refuse(501, "a transfer coding other than chunked");
  std::optional<uint64_t> length;
  if (cl == 1) {
    length = parse_number(headers().get("content-length"), 10);
    if (!length) return refuse(400, "a malformed Content-Length");
    if (*length > limits_.body_bytes && !no_body_) return refuse(413, fmt::format("more than {} bytes of body", limits_.body_bytes));
  }
  int status = response_.status;
  bool bodiless = kind_ == Kind::response && (no_body_ || status < 200 || status == 204 || status == 304);
  if (bodiless) state_ = State::done;
  else if (te) state_ = State::chunk_size;
  else if (length) state_ = *length ? State::body_length : State::done;
  else if (kind_ == Kind::request) state_ = State::done;
  else state_ = State::body_until_close, keep_alive_ = false;
  left_ = length.value_or(0);
  head_bytes_ = 0;
  return {};
}

Result<void> H1Parser::on_chunk_size(std::string_view l) {
  auto semicolon = l.find(';');
  auto size = parse_number(trim(l.substr(0, semicolon)), 16);
  if (!size || l[0] == ' ' || l[0] == '\t' || !is_field_value(l)) return refuse(400, "a malformed chunk size");
  if (*size > limits_.body_bytes) return refuse(413, fmt::format("more than {} bytes of body", limits_.body_bytes));
  left_ = *size;
  head_bytes_ = l.size();  // the allowance is per chunk line, and for the trailers as a whole
  state_ = *size == 0 ? State::trailers : State::chunk_data;
  return {};
}

std::string h1_serialize(const Request& r) {
  std::string out = r.method + " " + r.target + " HTTP/1.1\r\n";
  if (!r.headers.find("host")) out += "Host: localhost\r\n";
  append_fields(out, r.headers);
  if (!r.body.empty() || r.method == "POST" || r.method == "PUT" || r.method == "PATCH") out += fmt::format("Content-Length: {}\r\n", r.body.size());
  if (has_connection_word(r.headers, "close")) out += "Connection: close\r\n";
  return out + "\r\n" + r.body;
}

std::string h1_serialize(const Response& r, bool keep_alive, bool head_only) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", r.status, reason_phrase(r.status));
  append_fields(out, r.headers);
  bool bodiless = r.status < 200 || r.status == 204 || r.status == 304;
  if (!bodiless) out += fmt::format("Content-Length: {}\r\n", r.body.size());
  out += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
  if (!bodiless && !head_only) out += r.body;
  return out;
}

}  // namespace base
