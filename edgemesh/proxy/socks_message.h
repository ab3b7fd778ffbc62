// The server's side of SOCKS5 (RFC 1928) with names and passwords (RFC 1929), without I/O: bytes in, bytes out.
//
//   from the client                          answer
//   05 n method*n                            05 method, or 05 FF and the end; methods: 00 no login, 02 name and password
//   01 n name*n n password*n                 01 00, or 01 01 and the end; only after method 02
//   05 command 00 type address port(2)       05 code 00 type address port(2)
//   type 01: address(4), 03: n name*n, 04: address(16); command 01 CONNECT, 02 BIND, 03 UDP ASSOCIATE
//
// A dialogue says how many bytes it wants next and is given no more: what a client sends behind its request stays in the socket,
// for the connection that is made for it. One dialogue is one client's; it holds at most 512 bytes.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/core/bytes.h"
#include "base/net/addr.h"

namespace edgemesh {

enum class SocksCode : uint8_t {
  granted = 0,
  failure = 1,
  not_allowed = 2,
  network_unreachable = 3,
  host_unreachable = 4,
  refused = 5,
  expired = 6,
  no_such_command = 7,
  no_such_address_type = 8,
};
const char* describe(SocksCode);  // a word for logs and metrics

struct SocksTarget {
  std::string name;      // lower case, without a final dot; empty: an address was given
  base::IpPort address;  // the port counts for names too
  std::string str() const;
};

class SocksDialogue {
 public:
  using Login = std::function<bool(std::string_view name, std::string_view password)>;
  enum class State : uint8_t { reading, requested, refused };

  explicit SocksDialogue(Login login) : login_(std::move(login)) {}  // empty: nobody has to log in

  State state() const { return state_; }
  size_t wants() const { return state_ == State::reading ? want_ - held_.size() : 0; }
  void feed(base::ByteView);                                      // at most wants() bytes
  std::string take_reply() { return std::exchange(reply_, {}); }  // goes to the client now; in state refused it is the last
  const SocksTarget& target() const { return target_; }           // in state requested
  bool login_failed() const { return login_failed_; }

 private:
  enum class Step : uint8_t { greeting, methods, login, name, password_size, password, request, name_size, address };
  void on_piece();
  void next(Step, size_t more);
  void choose_method();
  void judge_login();
  void on_request();
  void on_address();
  void refuse(std::string last);

  Login login_;
  State state_ = State::reading;
  Step step_ = Step::greeting;
  std::string held_;
  size_t want_ = 2;
  std::string reply_;
  SocksTarget target_;
  bool login_failed_ = false;
};

// The answer to a request. `bound` is our end of the connection that was made.
std::string socks_answer(SocksCode, const base::IpPort& bound = {});

}  // namespace edgemesh
