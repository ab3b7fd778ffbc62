#include "tunnel/signal/proxy_connect.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {

base::Result<std::optional<size_t>> read(const std::string& s) { return read_connect_answer(base::as_bytes(s)); }
std::string trouble(const std::string& s) {
  auto r = read(s);
  return r ? "" : r.error().what;
}

TEST(ProxyConnect, AYesOpensAndWhatFollowsIsTheFarEnds) {
  std::string yes = "HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n";
  auto r = read(yes + "bytes of the relay");
  ASSERT_TRUE(r && *r);
  EXPECT_EQ(**r, yes.size());
  for (size_t n = 0; n < yes.size(); n++) {
    auto part = read(yes.substr(0, n));
    EXPECT_TRUE(part && !*part) << n;
  }
  EXPECT_TRUE(*read("HTTP/1.0 299 \r\n\r\n"));
}

TEST(ProxyConnect, ANoIsToldInTheProxysWords) {
  EXPECT_EQ(trouble("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), "403 Forbidden");
  EXPECT_EQ(trouble("HTTP/1.1 407 Proxy Authentication Required\r\n"), "407 Proxy Authentication Required");
  EXPECT_EQ(trouble("HTTP/1.1 503\r\n"), "503");
  EXPECT_EQ(trouble("HTTP/1.1 302 " + std::string(500, 'x') + "\r\n").size(), 60u);
}

TEST(ProxyConnect, WhatIsNoAnswerIsRefused) {
  for (const char* s : {"SSH-2.0-x\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n", "HTTP/1.1 20\r\n\r\n", "HTTP/1.1 200 \x01\r\n\r\n"}) EXPECT_EQ(trouble(s), "its answer is not HTTP") << s;
  EXPECT_EQ(trouble(std::string(9000, 'x')), "its answer is not HTTP");
  EXPECT_EQ(trouble("HTTP/1.1 200 OK\r\nX: " + std::string(9000, 'x')), "its answer has no end");
}

}  // namespace
}  // namespace tunnel
