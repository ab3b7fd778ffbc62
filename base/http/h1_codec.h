// HTTP/1.1 on the wire (RFC 9112): an incremental parser and a serializer, no I/O. Strict where laxness lets two parsers see
// two messages (request smuggling): lines end in CRLF, no folded fields, no space before ':', never both Content-Length and
// Transfer-Encoding, one Content-Length of digits only, "chunked" as the only coding, exactly one Host.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "base/core/bytes.h"
#include "base/core/limits.h"
#include "base/core/result.h"
#include "base/http/message.h"

namespace base {

struct H1Limits {
  size_t header_bytes = limits::kHttpHeaderBytesMax;
  size_t headers = limits::kHttpHeadersMax;
  size_t body_bytes = limits::kHttpBodyBytesMax;
};

// Parses one message after another. After an error the connection can only be closed; status() is the answer to give first.
class H1Parser {
 public:
  enum class Kind { request, response };
  using Limits = H1Limits;
  explicit H1Parser(Kind kind, Limits l = {}) : kind_(kind), limits_(l) {}

  // Takes bytes up to the end of the message at most; returns how many. The rest belongs to the next message: feed it after
  // next_message(). Body bytes collect in request().body or response().body.
  Result<size_t> feed(ByteView);
  // The peer closed. Fine for a response that runs to the close; an error in the middle of anything else.
  Result<void> finish();
  bool head_complete() const { return state_ != State::start && state_ != State::fields; }
  bool complete() const { return state_ == State::done; }
  bool idle() const { return state_ == State::start && line_.empty(); }  // between messages
  bool keep_alive() const { return keep_alive_; }
  void next_message();
  void expect_no_body() { no_body_ = true; }  // the response to HEAD

  Request& request() { return request_; }
  Response& response() { return response_; }
  int error_status() const { return error_status_; }

 private:
  enum class State { start, fields, body_length, body_until_close, chunk_size, chunk_data, chunk_end, trailers, done };
  tl::unexpected<Error> refuse(int status, std::string why);
  Result<void> on_line();
  Result<void> on_request_line(std::string_view);
  Result<void> on_status_line(std::string_view);
  Result<void> on_field(std::string_view);
  Result<void> on_chunk_size(std::string_view);
  Result<void> on_head_end();
  Result<void> choose_framing();
  Result<void> set_version(std::string_view);
  Result<size_t> take_line(ByteView);
  Result<size_t> take_body(ByteView);
  Headers& headers() { return kind_ == Kind::request ? request_.headers : response_.headers; }
  std::string& body() { return kind_ == Kind::request ? request_.body : response_.body; }

  Kind kind_;
  Limits limits_;
  State state_ = State::start;
  std::string line_;
  size_t head_bytes_ = 0;
  uint64_t left_ = 0;  // of the body or the chunk
  bool is_11_ = true, keep_alive_ = true, no_body_ = false;
  int error_status_ = 400;
  Request request_;
  Response response_;
};

// Content-Length is set from the body; a name or value that would break the framing is dropped.
std::string h1_serialize(const Request&);
std::string h1_serialize(const Response&, bool keep_alive, bool head_only = false);

}  // namespace base
