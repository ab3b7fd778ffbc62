#include "base/net/name_lookup.h"

#include <netdb.h>
#include <sys/socket.h>

#include <mutex>
#include <system_error>
#include <thread>

#include "base/net/socket.h"

namespace base {
namespace {

using Answer = Result<std::vector<IpAddr>>;

// Outlives the lookup when that is dropped early: the thread finds the loop gone and leaves.
struct Shared {
  std::mutex mu;
  Loop* loop = nullptr;  // null: nobody waits any more
  std::function<void(Answer)> done;  // touched on the loop only
};

Answer resolve(const std::string& host) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  if (int r = ::getaddrinfo(host.c_str(), nullptr, &hints, &list); r != 0)
    return fail(Code::unavailable, "{}: {}: check the name, and the nameserver in /etc/resolv.conf", host, ::gai_strerror(r));
  std::vector<IpAddr> out;
  for (addrinfo* a = list; a; a = a->ai_next) {
    SockAddr s;
    memcpy(s.ptr(), a->ai_addr, a->ai_addrlen);
    s.len = a->ai_addrlen;
    if (auto ip = s.ip_port()) out.push_back(ip->ip);
  }
  ::freeaddrinfo(list);
  if (out.empty()) return fail(Code::not_found, "{}: has no address", host);
  return out;
}

class ThreadLookup final : public NameLookup {
 public:
  ThreadLookup(Loop& loop, const std::string& host, std::function<void(Answer)> done) {
    shared_->loop = &loop;
    shared_->done = std::move(done);
    if (auto ip = IpAddr::parse(host)) deliver(shared_, Answer(std::vector<IpAddr>{*ip}));
    else look_up(host);
  }
  ~ThreadLookup() override {
    std::lock_guard lock(shared_->mu);
    shared_->loop = nullptr;
  }

 private:
  void look_up(const std::string& host) {
    try {
      std::thread([host, s = shared_] { deliver(s, resolve(host)); }).detach();
    } catch (const std::system_error& e) {
      deliver(shared_, fail(Code::limit, "{}: no thread to look it up: {}: raise the limit of processes (TasksMax)", host, e.what()));
    }
  }
  static void deliver(const std::shared_ptr<Shared>& s, Answer a) {
    std::lock_guard lock(s->mu);  // the loop cannot go away in between
    if (!s->loop) return;
    s->loop->post([s, a = std::move(a)]() mutable {
      {
        std::lock_guard inner(s->mu);
        if (!s->loop) return;
        s->loop = nullptr;
      }
      auto done = std::exchange(s->done, nullptr);
      done(std::move(a));
    });
  }
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace

std::unique_ptr<NameLookup> look_up_name(Loop& loop, const std::string& host, std::function<void(Answer)> done) {
  return std::make_unique<ThreadLookup>(loop, host, std::move(done));
}

}  // namespace base
