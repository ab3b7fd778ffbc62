#include "edgemesh/proxy/socks_message.h"

#include <cctype>

#include "base/core/assert.h"

namespace edgemesh {
namespace {
constexpr char kVersion = 5, kLoginVersion = 1;
constexpr char kNoLogin = 0, kNameAndPassword = 2;
constexpr uint8_t kConnect = 1;
constexpr uint8_t kIpv4 = 1, kName = 3, kIpv6 = 4;

uint8_t at(const std::string& s, size_t i) { return uint8_t(s[i]); }

// Node and service names are those of DNS; anything else would only be a way to write into our log.
std::string plain_name(std::string_view s) {
  std::string out;
  for (char c : s) {
    if (!std::isalnum(uint8_t(c)) && c != '-' && c != '_' && c != '.') return "";
    out += char(std::tolower(uint8_t(c)));
  }
  if (!out.empty() && out.back() == '.') out.pop_back();
  return out;
}
}  // namespace

const char* describe(SocksCode c) {
  switch (c) {
    case SocksCode::granted:
      return "granted";
    case SocksCode::failure:
      return "failure";
    case SocksCode::not_allowed:
      return "not_allowed";
    case SocksCode::network_unreachable:
      return "network_unreachable";
    case SocksCode::host_unreachable:
      return "host_unreachable";
    case SocksCode::refused:
      return "refused";
    case SocksCode::expired:
      return "expired";
    case SocksCode::no_such_command:
      return "no_such_command";
    case SocksCode::no_such_address_type:
      return "no_such_address_type";
  }
  return "failure";
}

std::string SocksTarget::str() const { return name.empty() ? address.str() : name + ":" + std::to_string(address.port); }

void SocksDialogue::feed(base::ByteView b) {
  EM_ASSERT(b.size() <= wants());
  held_ += base::as_text(b);
  while (state_ == State::reading && held_.size() == want_) on_piece();
}

void SocksDialogue::next(Step step, size_t more) {
  step_ = step;
  want_ = held_.size() + more;
}

void SocksDialogue::refuse(std::string last) {
  reply_ += last;
  state_ = State::refused;
}

void SocksDialogue::on_piece() {
  switch (step_) {
    case Step::greeting:
      if (held_[0] != kVersion || at(held_, 1) == 0) return refuse("");  // no SOCKS5: there is no answer it would understand
      return next(Step::methods, at(held_, 1));
    case Step::methods:
      return choose_method();
    case Step::login:
      if (held_[0] != kLoginVersion) return refuse({kLoginVersion, 1});
      return next(Step::name, at(held_, 1));
    case Step::name:
      return next(Step::password_size, 1);
    case Step::password_size:
      return next(Step::password, at(held_, held_.size() - 1));
    case Step::password:
      return judge_login();
    case Step::request:
      return on_request();
    case Step::name_size:
      return next(Step::address, at(held_, 4) + 2u);
    case Step::address:
      return on_address();
  }
}

void SocksDialogue::choose_method() {
  const char wanted = login_ ? kNameAndPassword : kNoLogin;
  if (held_.find(wanted, 2) == std::string::npos) {
    login_failed_ = bool(login_);
    return refuse({kVersion, char(0xff)});
  }
  reply_ += {kVersion, wanted};
  held_.clear();
  if (login_) return next(Step::login, 2);
  next(Step::request, 4);
}

void SocksDialogue::judge_login() {
  const size_t name_size = at(held_, 1);
  const std::string_view all = held_;
  const bool fine = login_(all.substr(2, name_size), all.substr(3 + name_size));
  base::secure_zero(held_.data(), held_.size());
  held_.clear();
  if (!fine) {
    login_failed_ = true;
    return refuse({kLoginVersion, 1});
  }
  reply_ += {kLoginVersion, 0};
  next(Step::request, 4);
}

void SocksDialogue::on_request() {
  if (held_[0] != kVersion) return refuse(socks_answer(SocksCode::failure));
  if (at(held_, 1) != kConnect) return refuse(socks_answer(SocksCode::no_such_command));
  switch (at(held_, 3)) {
    case kIpv4:
      return next(Step::address, 4 + 2);
    case kName:
      return next(Step::name_size, 1);
    case kIpv6:
      return next(Step::address, 16 + 2);
    default:
      return refuse(socks_answer(SocksCode::no_such_address_type));
  }
}

void SocksDialogue::on_address() {
  const auto bytes = base::as_bytes(held_);
  target_.address.port = base::load_be16(&bytes[bytes.size() - 2]);
  switch (at(held_, 3)) {
    case kIpv4:
      target_.address.ip = base::IpAddr::v4(&bytes[4]);
      break;
    case kIpv6:
      target_.address.ip = base::IpAddr::v6(&bytes[4]);
      break;
    default:
      const auto text = std::string_view(held_).substr(5, at(held_, 4));
      if (auto ip = base::IpAddr::parse(text)) {
        target_.address.ip = *ip;
        break;
      }
      target_.name = plain_name(text);
      if (target_.name.empty()) return refuse(socks_answer(SocksCode::host_unreachable));
  }
  if (target_.address.port == 0) return refuse(socks_answer(SocksCode::refused));
  state_ = State::requested;
}

std::string socks_answer(SocksCode code, const base::IpPort& bound) {
  const auto ip = bound.ip.bytes();
  std::string out{kVersion, char(code), 0, char(bound.ip.is_v6() ? kIpv6 : kIpv4)};
  out += base::as_text(ip);
  out += {char(bound.port >> 8), char(bound.port)};
  return out;
}

}  // namespace edgemesh
