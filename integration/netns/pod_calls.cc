// The clients of pod_client.py that labs start hundreds of times: they print the same JSON and take a fiftieth of the processor.
//   http HOST PORT N [PATH]    sources HOST PORT IP...    udp HOST PORT N SIZE    wait HOST PORT    connect HOST PORT SECONDS
//   hold HOST PORT SECONDS     steady HOST PORT SECONDS MS [udp]
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static constexpr double kTimeout = 8, kDatagramTimeout = 3, kLongTimeout = 5;

static double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}

static void sleep_until(double t) {
  if (const double left = t - now(); left > 0) std::this_thread::sleep_for(std::chrono::duration<double>(left));
}

[[noreturn]] static void fail(const std::string& why) { throw std::runtime_error(why); }
[[noreturn]] static void fail_errno(int error = errno) { fail(strerror(error)); }

// ---- a socket with a deadline for each of its waits

class Socket {
 public:
  // A fresh look-up each time, as a program that keeps no cache does. from: the source address, "" for the kernel's choice.
  Socket(const char* host, const char* port, int kind, double timeout, const std::string& from = "") : timeout_(timeout) {
    addrinfo hints{}, *all = nullptr;
    hints.ai_socktype = kind;
    if (int error = getaddrinfo(host, port, &hints, &all)) fail(error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    const addrinfo first = *all;
    memcpy(&to_, first.ai_addr, first.ai_addrlen);
    freeaddrinfo(all);
    fd_ = socket(first.ai_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) fail_errno();
    try {
      if (!from.empty()) bind_to(from, first.ai_family);
      join(first.ai_addrlen);
    } catch (...) {
      close(fd_);
      throw;
    }
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;

  void send_all(std::string_view s) {
    while (!s.empty()) {
      const ssize_t n = send(fd_, s.data(), s.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) await(POLLOUT);
      else if (n < 0) fail_errno();
      else s.remove_prefix(size_t(n));
    }
  }
  std::string receive() {  // "": the end
    std::string out(1 << 16, 0);
    for (;;) {
      await(POLLIN);
      const ssize_t n = recv(fd_, out.data(), out.size(), 0);
      if (n < 0 && errno == EAGAIN) continue;
      if (n < 0) fail_errno();
      out.resize(size_t(n));
      return out;
    }
  }

 private:
  void bind_to(const std::string& from, int family) {
    sockaddr_storage a{};
    a.ss_family = sa_family_t(family);
    void* where = family == AF_INET ? static_cast<void*>(&reinterpret_cast<sockaddr_in&>(a).sin_addr) : &reinterpret_cast<sockaddr_in6&>(a).sin6_addr;
    if (inet_pton(family, from.c_str(), where) != 1) fail(from + ": no such address");
    if (bind(fd_, reinterpret_cast<sockaddr*>(&a), family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6))) fail_errno();
  }
  void join(socklen_t size) {
    if (!connect(fd_, reinterpret_cast<sockaddr*>(&to_), size)) return;
    if (errno != EINPROGRESS) fail_errno();
    await(POLLOUT);
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) fail_errno(error);
  }
  void await(short events) {
    pollfd p{fd_, events, 0};
    const int n = poll(&p, 1, int(timeout_ * 1000));
    if (n < 0) fail_errno();
    if (n == 0) fail("timed out");
  }

  int fd_ = -1;
  double timeout_;
  sockaddr_storage to_{};
};

// ---- one call each: what the server said, or "!" and why not

static std::string attempt(const std::function<std::string()>& call) {
  try {
    return call();
  } catch (const std::exception& e) {
    return std::string("!") + e.what();
  }
}

static std::string get(const char* host, const char* port, const std::string& path, const std::string& from = "") {
  Socket s(host, port, SOCK_STREAM, kTimeout, from);
  s.send_all("GET " + path + " HTTP/1.0\r\nHost: " + host + "\r\n\r\n");
  std::string all;
  for (std::string more; !(more = s.receive()).empty();) all += more;
  const size_t body = all.find("\r\n\r\n");
  if (body == all.npos) fail("the answer ended within its header");
  all.erase(0, body + 4);
  all.erase(all.find_last_not_of(" \r\n\t") + 1);
  return all;
}

static std::string datagram(const char* host, const char* port, const std::string& payload, double timeout) {
  Socket s(host, port, SOCK_DGRAM, timeout);
  s.send_all(payload);
  const std::string back = s.receive();
  const size_t name = back.find('\n');
  return name != back.npos && back.substr(name + 1) == payload ? back.substr(0, name) : "!another datagram came back";
}

// ---- JSON

static std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (unsigned char c : s) {
    char text[8];
    if (c == '"' || c == '\\') out += '\\', out += char(c);
    else if (c < 0x20 || c >= 0x7f) snprintf(text, sizeof text, "\\u%04x", c), out += text;
    else out += char(c);
  }
  return out + '"';
}

static void print_tally(const std::vector<std::string>& answers, double seconds) {
  std::map<std::string, int> counts;
  std::string list, numbers;
  int errors = 0;
  for (const std::string& a : answers) {
    list += (list.empty() ? "" : ", ") + quoted(a);
    ++counts[a];
    errors += a.starts_with('!');
  }
  for (const auto& [a, n] : counts) numbers += (numbers.empty() ? "" : ", ") + quoted(a) + ": " + std::to_string(n);
  printf("{\"answers\": [%s], \"counts\": {%s}, \"errors\": %d, \"seconds\": %.6f}\n", list.c_str(), numbers.c_str(), errors, seconds);
}

// ---- the clients

// A new call every MS milliseconds, whatever becomes of the others: when it began, who answered, after how long.
static void steady(double seconds, double every_s, const std::function<std::string()>& call) {
  struct Done {
    double at;
    std::string answer;
    double took;
  };
  std::vector<Done> calls;
  std::mutex mutex;
  std::vector<std::thread> threads;
  const double begun = now();
  for (int i = 0; i < int(seconds / every_s + 1e-9); ++i) {
    sleep_until(begun + i * every_s);
    threads.emplace_back([&] {
      const double at = now();
      std::string answer = attempt(call);
      std::lock_guard lock(mutex);
      calls.push_back({at, std::move(answer), now() - at});
    });
  }
  for (std::thread& t : threads) t.join();
  std::sort(calls.begin(), calls.end(), [](const Done& a, const Done& b) { return a.at < b.at; });
  std::string list;
  for (const Done& d : calls) {
    char at[32], took[32];
    snprintf(at, sizeof at, "%.6f", d.at), snprintf(took, sizeof took, "%.6f", d.took);
    list += std::string(list.empty() ? "[" : ", [") + at + ", " + quoted(d.answer) + ", " + took + "]";
  }
  printf("{\"calls\": [%s]}\n", list.c_str());
}

int main(int argc, char** argv) {
  if (argc < 4) return fputs("pod_calls CLIENT HOST PORT ARGUMENT...: see the head of pod_calls.cc\n", stderr), 2;
  const std::string client = argv[1];
  const char *host = argv[2], *port = argv[3];
  const std::vector<std::string> rest(argv + 4, argv + argc);
  const auto number = [&rest](size_t i) { return i < rest.size() ? atof(rest[i].c_str()) : 0.0; };
  const double begun = now();
  std::vector<std::string> answers;
  try {
    if (client == "http") {
      const std::string path = rest.size() > 1 ? rest[1] : "/";
      for (int i = 0; i < int(number(0)); ++i) answers.push_back(attempt([&] { return get(host, port, path); }));
    } else if (client == "sources") {
      for (const std::string& ip : rest) answers.push_back(attempt([&] { return get(host, port, "/", ip); }));
    } else if (client == "udp") {
      for (int i = 0; i < int(number(0)); ++i) {
        std::string payload;
        while (payload.size() < size_t(number(1))) payload += std::to_string(i) + ":";
        payload.resize(size_t(number(1)));
        answers.push_back(attempt([&] { return datagram(host, port, payload, kDatagramTimeout); }));
      }
    } else if (client == "wait") {
      answers.push_back(attempt([&] { return datagram(host, port, "wait please", kLongTimeout); }));
    } else if (client == "connect") {
      const std::string result = attempt([&] { return Socket(host, port, SOCK_STREAM, number(0)), std::string("connected"); });
      return printf("{\"result\": %s, \"seconds\": %.6f}\n", quoted(result).c_str(), now() - begun), 0;
    } else if (client == "hold") {
      Socket s(host, port, SOCK_STREAM, kTimeout);
      sleep_until(now() + number(0));
      return puts("{}"), 0;
    } else if (client == "steady") {
      const bool udp = rest.size() > 2 && rest[2] == "udp";
      steady(number(0), number(1) / 1000, [&] { return udp ? datagram(host, port, "steady", kDatagramTimeout) : get(host, port, "/"); });
      return 0;
    } else {
      return fprintf(stderr, "pod_calls: no client %s\n", client.c_str()), 2;
    }
  } catch (const std::exception& e) {
    printf("{\"error\": %s, \"at\": %.6f}\n", quoted(e.what()).c_str(), now());
    return 1;
  }
  print_tally(answers, now() - begun);
  return 0;
}
