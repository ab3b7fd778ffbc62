#include "base/http/h1_codec.h"

#include <gtest/gtest.h>

namespace base {
namespace {

using Kind = H1Parser::Kind;

Result<H1Parser> parse(Kind kind, std::string_view wire, H1Parser::Limits l = {}) {
  H1Parser p(kind, l);
  auto n = p.feed(as_bytes(wire));
  if (!n) return fail(n.error().code, "{} {}", p.error_status(), n.error().what);
  return p;
}

int status_of(std::string_view wire, H1Parser::Limits l = {}) {
  H1Parser p(Kind::request, l);
  return p.feed(as_bytes(wire)) ? 0 : p.error_status();
}

TEST(H1Codec, RequestWithBody) {
  auto p = parse(Kind::request, "POST /a/b?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-Y:  z \r\n\r\nabc");
  ASSERT_TRUE(p && p->complete());
  EXPECT_EQ(p->request().method, "POST");
  EXPECT_EQ(p->request().path(), "/a/b");
  EXPECT_EQ(p->request().query(), "x=1");
  EXPECT_EQ(p->request().headers.get("x-y"), "z");
  EXPECT_EQ(p->request().body, "abc");
  EXPECT_TRUE(p->keep_alive());
}

TEST(H1Codec, ChunkedBodyByteByByte) {
  std::string wire = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n";
  H1Parser p(Kind::response);
  for (char& c : wire) ASSERT_TRUE(p.feed(as_bytes({&c, 1})));
  EXPECT_TRUE(p.complete());
  EXPECT_EQ(p.response().body, "abc0123456789");
}

TEST(H1Codec, PipelinedMessagesAreTakenOneByOne) {
  std::string wire = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\n\r\n";
  H1Parser p(Kind::request);
  size_t n = p.feed(as_bytes(wire)).value();
  EXPECT_EQ(p.request().target, "/1");
  p.next_message();
  EXPECT_EQ(p.feed(as_bytes(wire).subspan(n)).value(), wire.size() - n);
  EXPECT_EQ(p.request().target, "/2");
  EXPECT_FALSE(p.keep_alive());
}

TEST(H1Codec, SmugglingIsRefused) {
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";
  for (std::string fields : {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
                             "Content-Length: +3\r\n\r\n", "Content-Length: 3, 3\r\n\r\n", "Content-Length: 0x3\r\n\r\n", "Content-Length:\r\n\r\n",
                             "Content-Length : 3\r\n\r\n", "X: a\r\n b\r\n\r\n", "X: a\nY: b\r\n\r\n", "X: a\rb\r\n\r\n", "Host: i\r\n\r\n",
                             "Bad Name: x\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n-1\r\n", "Transfer-Encoding: chunked\r\n\r\n 3\r\n",
                             "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", "Transfer-Encoding: chunked\r\n\r\n3\nabc"})
    EXPECT_EQ(status_of(post + fields), 400) << fields;
  EXPECT_EQ(status_of(post + "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501);
  EXPECT_EQ(status_of(post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 501);
  EXPECT_EQ(status_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET  / HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string("GET /\0 HTTP/1.1\r\n", 17)), 400);
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\n"), 505);
}

TEST(H1Codec, LimitsHoldBeforeMemoryIsSpent) {
  H1Parser::Limits l{200, 3, 10};
  std::string head = "GET / HTTP/1.1\r\nHost: h\r\n";
  EXPECT_EQ(status_of(head + "X: " + std::string(300, 'a'), l), 431);
  EXPECT_EQ(status_of(head + "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", l), 431);
  EXPECT_EQ(status_of(head + "Content-Length: 11\r\n\r\n", l), 413);
  EXPECT_EQ(status_of(head + "Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n", l), 413);
  EXPECT_EQ(status_of(head + "Transfer-Encoding: chunked\r\n\r\n0\r\nT: " + std::string(300, 'a'), l), 431);
}

TEST(H1Codec, ResponsesWithoutABody) {
  EXPECT_TRUE(parse(Kind::response, "HTTP/1.1 204 No Content\r\n\r\n")->complete());
  EXPECT_TRUE(parse(Kind::response, "HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n")->complete());
  H1Parser head(Kind::response);
  head.expect_no_body();
  ASSERT_TRUE(head.feed(as_bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")));
  EXPECT_TRUE(head.complete());
}

TEST(H1Codec, CloseEndsOnlyWhatMayEndThere) {
  auto open = parse(Kind::response, "HTTP/1.1 200 OK\r\n\r\nabc");
  EXPECT_FALSE(open->complete());
  ASSERT_TRUE(open->finish());
  EXPECT_EQ(open->response().body, "abc");
  EXPECT_FALSE(parse(Kind::response, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")->finish());
  EXPECT_TRUE(H1Parser(Kind::request).finish());
}

TEST(H1Codec, SerializedMessagesCannotBeSplitByFieldValues) {
  Response r = Response::text(200, "ok");
  r.headers.add("X", "a\r\nSet-Cookie: b");
  r.headers.add("Content-Length", "99");
  auto p = parse(Kind::response, h1_serialize(r, false));
  ASSERT_TRUE(p && p->complete());
  EXPECT_EQ(p->response().headers.count("set-cookie"), 0u);
  EXPECT_EQ(p->response().body, "ok");
  EXPECT_FALSE(p->keep_alive());
}

}  // namespace
}  // namespace base
