#include "daemon/admin/admin.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/core/file.h"
#include "base/http/client.h"
#include "base/sim/source_dir.h"
#include "daemon/admin/admin_testing.h"

namespace edgemeshd {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

struct AdminTest : ::testing::Test {
  testing::AdminWorld w;

  base::Response ask(const base::HttpTarget& to, const char* method, const std::string& target) {
    base::Request q;
    q.method = method;
    q.target = target;
    q.headers.add("Host", "edgemeshd");
    std::optional<base::Result<base::Response>> answer;
    auto pending = base::http_call(*w.loop, to, q, 5s, [&](base::Result<base::Response> r) {
      answer = std::move(r);
      w.loop->stop();
    });
    if (!answer) w.loop->run();
    EXPECT_TRUE(*answer) << (*answer ? "" : answer->error().what);
    return *answer ? **answer : base::Response::text(0, "");
  }
  base::Response on_unix(const char* method, const std::string& target) { return ask(base::UnixPath{w.socket}, method, target); }
  base::Response on_tcp(const char* method, const std::string& target) { return ask(w.tcp, method, target); }
  Json json(const char* method, const std::string& target, int status = 200) {
    base::Response r = on_unix(method, target);
    EXPECT_EQ(r.status, status) << r.body;
    EXPECT_EQ(r.headers.get("Content-Type"), "application/json");
    Json j = Json::parse(r.body, nullptr, false);
    EXPECT_TRUE(j.is_object()) << r.body;
    return j;
  }
};

// ---- the page and the answers name the same fields

// {"a": 1, "b": [{"c": 2}]} -> a, b[], b[].c
void add_fields(const Json& j, const std::string& in, std::set<std::string>& out) {
  for (const auto& [key, value] : j.items()) {
    std::string name = in + key + (value.is_array() ? "[]" : "");
    out.insert(name);
    if (value.is_object()) add_fields(value, name + ".", out);
    if (value.is_array())
      for (const auto& element : value)
        if (element.is_object()) add_fields(element, name + ".", out);
  }
}

// "peers[]: name bytes {sent}" -> peers[], peers[].name, peers[].bytes, peers[].bytes.sent
std::set<std::string> documented_fields(std::string cell) {
  std::erase(cell, '`');
  if (size_t colon = cell.find(':'); colon != std::string::npos) cell = cell.substr(0, colon) + " {" + cell.substr(colon + 1) + "}";
  std::set<std::string> out;
  std::vector<std::string> inside{""};
  std::string word, last;
  for (char c : cell + " ") {
    if (c != ' ' && c != '{' && c != '}') {
      word += c;
      continue;
    }
    if (!word.empty()) out.insert(last = inside.back() + word);
    word.clear();
    if (c == '{') inside.push_back(last + ".");
    if (c == '}') inside.pop_back();
  }
  return out;
}

// Second column of the row that describes a request.
std::string page_row(const std::string& request) {
  auto page = base::read_file(base::source_path("docs/reference/admin-api.md"), 1 << 20);
  size_t at = page ? page->find("| `" + request) : std::string::npos;
  if (at == std::string::npos) return "";
  size_t begin = page->find(" | ", at) + 3;
  return page->substr(begin, page->find(" |\n", begin) - begin);
}

TEST_F(AdminTest, EveryAnswerHasTheFieldsOfItsPageAndNoOthers) {
  struct Case {
    const char *method, *path, *query;
  };
  for (const Case& c : {Case{"GET", "/v1/status", ""}, Case{"GET", "/v1/services", ""}, Case{"GET", "/v1/explain", "?service=shop/web"},
                        Case{"GET", "/v1/peers", ""}, Case{"GET", "/v1/paths", ""}, Case{"GET", "/v1/nat", ""}, Case{"GET", "/v1/lan", ""},
                        Case{"GET", "/v1/dns/lookup", "?name=web.shop.svc.cluster.local"}, Case{"GET", "/v1/dns/cache", ""},
                        Case{"GET", "/v1/dns/upstreams", ""}, Case{"GET", "/v1/dns/top", ""}, Case{"POST", "/v1/ping", "?node=node-b"},
                        Case{"POST", "/v1/reload", ""}}) {
    std::string request = std::string(c.method) + " " + c.path;
    std::set<std::string> answered;
    add_fields(json(c.method, std::string(c.path) + c.query), "", answered);
    EXPECT_EQ(answered, documented_fields(page_row(request))) << request;
  }
}

// ---- what the answers say

TEST_F(AdminTest, StatusSaysWhatRunsAndWhatIsWrong) {
  w.state.status.ready = false;
  w.state.status.problems = {"manifests/a.yaml:3: no such field"};
  Json j = json("GET", "/v1/status");
  EXPECT_EQ(j["node"], "node-a");
  EXPECT_EQ(j["ready"], false);
  EXPECT_EQ(j["modules"], Json({"mesh", "dns"}));
  EXPECT_EQ(j["overlayIPs"], Json({"100.64.0.1"}));
  EXPECT_EQ(j["problems"], Json({"manifests/a.yaml:3: no such field"}));
}

TEST_F(AdminTest, ServicesCountEndpointsAndThoseReady) {
  Json s = json("GET", "/v1/services")["services"][0];
  EXPECT_EQ(s["namespace"], "shop");
  EXPECT_EQ(s["clusterIPs"], Json({"10.96.0.7", "fd00::7"}));
  EXPECT_EQ(s["ports"][0]["protocol"], "tcp");
  EXPECT_EQ(s["ports"][0]["endpoints"], 3);
  EXPECT_EQ(s["ports"][0]["ready"], 2);
}

TEST_F(AdminTest, PeersKeepDirectAndRelayBytesApart) {
  Json b = json("GET", "/v1/peers")["peers"][0]["bytes"];
  EXPECT_EQ(b["sentDirect"], 1024);
  EXPECT_EQ(b["receivedDirect"], 512);
  EXPECT_EQ(b["sentRelay"], 3 << 20);
  EXPECT_EQ(b["receivedRelay"], 0);
}

TEST_F(AdminTest, BytesThatAreNoTextDoNotBreakTheAnswer) {
  w.state.status.problems = {"bad \xff\xfe name"};
  EXPECT_EQ(json("GET", "/v1/status")["problems"].size(), 1u);
}

TEST_F(AdminTest, ExplainTakesTheNamePlainOrEscaped) {
  json("GET", "/v1/explain?service=shop/web");
  json("GET", "/v1/explain?service=shop%2Fweb");
  EXPECT_EQ(w.state.explained, (std::vector<std::string>{"shop/web", "shop/web"}));
  EXPECT_NE(json("GET", "/v1/explain?service=web", 400)["error"].get<std::string>().find("namespace/name"), std::string::npos);
  json("GET", "/v1/explain", 400);
}

TEST_F(AdminTest, PingAnswersWithTimeAndPathOrTheReason) {
  Json j = json("POST", "/v1/ping?node=node-b");
  EXPECT_EQ(j["rttMicroseconds"], 2500);
  EXPECT_EQ(j["path"], "direct");
  EXPECT_EQ(json("POST", "/v1/ping?node=node-x", 504)["error"], "node node-x: no such peer");
  json("POST", "/v1/ping", 400);
}

TEST_F(AdminTest, AReloadThatFailsSaysWhy) {
  EXPECT_EQ(json("POST", "/v1/reload")["reloaded"], true);
  w.state.reload = base::fail(base::Code::invalid, "config.yaml:3:1: unknown key");
  EXPECT_EQ(json("POST", "/v1/reload", 422)["error"], "config.yaml:3:1: unknown key");
  EXPECT_EQ(w.state.reloads, 2);
}

TEST_F(AdminTest, NothingChangesByGet) {
  EXPECT_EQ(on_unix("GET", "/v1/reload").status, 404);
  EXPECT_EQ(on_unix("GET", "/v1/ping?node=node-b").status, 404);
  EXPECT_EQ(on_unix("DELETE", "/v1/status").status, 405);
  EXPECT_EQ(w.state.reloads, 0);
  EXPECT_TRUE(w.state.pinged.empty());
}

TEST_F(AdminTest, DnsIsLookedAtByNameAndWithinBounds) {
  Json j = json("GET", "/v1/dns/lookup?name=web.shop&type=aaaa");
  EXPECT_EQ(j["from"], "cluster");
  EXPECT_EQ(j["answer"][0]["data"], "10.96.0.7");
  EXPECT_TRUE(j["extendedError"].is_null());
  w.state.lookup.message.ede = 3;
  EXPECT_EQ(json("GET", "/v1/dns/lookup?name=10.96.0.7")["extendedError"], 3);
  EXPECT_EQ(json("GET", "/v1/dns/lookup?name=bad%20name", 400)["error"], "dns: \"bad name\" is not a domain name");
  json("GET", "/v1/dns/lookup", 400);
  json("GET", "/v1/dns/cache?under=example&limit=5000");
  json("GET", "/v1/dns/cache?limit=x");
  EXPECT_EQ(w.state.looked_up, (std::vector<std::string>{"web.shop aaaa", "10.96.0.7 ", "bad name ", "example 1000", " 100"}));
  EXPECT_EQ(json("GET", "/v1/dns/top")["names"][0]["queries"], 100);
  EXPECT_EQ(json("GET", "/v1/dns/upstreams")["servers"][0]["state"], "up");
  json("GET", "/v1/dns/flush", 404);
}

// ---- who may ask

TEST_F(AdminTest, TcpShowsHealthReadinessAndMetricsOnly) {
  EXPECT_EQ(on_tcp("GET", "/healthz").status, 200);
  EXPECT_EQ(on_tcp("GET", "/readyz").status, 200);
  w.metrics.counter("edgemeshd_test_total", "Only here.").add();
  base::Response metrics = on_tcp("GET", "/metrics");
  EXPECT_NE(metrics.body.find("edgemeshd_test_total 1\n"), std::string::npos) << metrics.body;
  for (const char* path : {"/v1/status", "/v1/services", "/v1/explain?service=shop/web", "/v1/peers", "/v1/paths", "/v1/nat", "/v1/lan",
                           "/v1/dns/cache", "/v1/dns/lookup?name=x"}) {
    base::Response r = on_tcp("GET", path);
    EXPECT_EQ(r.status, 404) << path;
    EXPECT_EQ(r.body.find("node-"), std::string::npos) << r.body;
  }
  for (const char* path : {"/v1/reload", "/v1/ping?node=node-b", "/healthz"}) EXPECT_EQ(on_tcp("POST", path).status, 405) << path;
  EXPECT_EQ(w.state.reloads, 0);
  EXPECT_TRUE(w.state.pinged.empty());
}

TEST_F(AdminTest, NotReadyIsA503WithItsReasons) {
  w.state.status.ready = false;
  w.state.status.problems = {"objects have not been read yet"};
  base::Response r = on_tcp("GET", "/readyz");
  EXPECT_EQ(r.status, 503);
  EXPECT_NE(r.body.find("objects have not been read yet"), std::string::npos);
  EXPECT_EQ(on_unix("GET", "/readyz").status, 503) << "the same on the unix socket";
}

// Child process: asks as another user and leaves the answer in the pipe.
[[noreturn]] void ask_as(uid_t uid, const std::string& socket, int pipe_out) {
  std::string answer;
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  socket.copy(a.sun_path, sizeof a.sun_path - 1);
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (::setuid(uid) != 0) answer = "setuid failed";
  else if (::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) answer = strerror(errno);
  else {
    static constexpr char question[] = "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    (void)!::write(fd, question, sizeof question - 1);
    char buf[2048];
    for (ssize_t n; (n = ::read(fd, buf, sizeof buf)) > 0;) answer.append(buf, size_t(n));
  }
  (void)!::write(pipe_out, answer.data(), answer.size());
  ::_exit(0);
}

std::string answer_to(uid_t uid, testing::AdminWorld& w) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  pid_t child = ::fork();
  if (child == 0) ask_as(uid, w.socket, ends[1]);
  ::close(ends[1]);
  base::UniqueFd in(ends[0]);
  std::string answer;
  auto watch = w.loop->watch(in.get(), base::kFdRead, [&](base::FdEvents) {
    char buf[2048];
    ssize_t n = ::read(in.get(), buf, sizeof buf);
    if (n <= 0) return w.loop->stop();
    answer.append(buf, size_t(n));
  });
  w.loop->run();
  ::waitpid(child, nullptr, 0);
  return answer;
}

TEST_F(AdminTest, AnotherUserIsRefusedEvenWhereTheSocketFileIsOpenToAll) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  struct stat st;
  ASSERT_EQ(::stat(w.socket.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  ::chmod(w.dir.c_str(), 0755);
  EXPECT_EQ(answer_to(65534, w), strerror(EACCES));
  ::chmod(w.socket.c_str(), 0666);
  std::string answer = answer_to(65534, w);
  EXPECT_EQ(answer.rfind("HTTP/1.1 403 ", 0), 0u) << answer;
  EXPECT_EQ(w.state.reloads, 0);
  EXPECT_EQ(answer_to(0, w).rfind("HTTP/1.1 200 ", 0), 0u);
}

TEST_F(AdminTest, ADrainingAdminAnswersNobodyNew) {
  w.admin->drain();
  std::string error;
  auto pending = base::http_call(*w.loop, base::UnixPath{w.socket}, {.headers = {{"Host", "x"}}}, 2s, [&](base::Result<base::Response> r) {
    error = r ? "answered" : r.error().what;
    w.loop->stop();
  });
  if (error.empty()) w.loop->run();
  EXPECT_NE(error, "answered");
}

}  // namespace
}  // namespace edgemeshd
