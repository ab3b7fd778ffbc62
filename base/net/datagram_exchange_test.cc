#include "base/net/datagram_exchange.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/net/socket.h"

namespace base {
namespace {

IpPort at(const char* ip, uint16_t port) { return {*IpAddr::parse(ip), port}; }

std::string ask(int fd) {
  pollfd p{fd, POLLIN, 0};
  char b[100];
  ssize_t n = ::poll(&p, 1, 1000) == 1 ? ::recv(fd, b, sizeof b, 0) : -1;
  return n < 0 ? "nothing" : std::string(b, size_t(n));
}

// A connected socket takes only what comes from the address it asked: the reply must leave from there.
TEST(DatagramExchange, RepliesComeFromTheAddressThatWasAsked) {
  for (auto& [any, asked] : {std::pair{"0.0.0.0", "127.0.0.3"}, std::pair{"::", "::1"}}) {
    auto server = *udp_socket(at(any, 0), {.packet_info = true});
    uint16_t port = local_address(server.get())->port;
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 5; i++) {
      clients.push_back(*udp_socket(at(std::string_view(any) == "::" ? "::1" : "127.0.0.1", 0)));
      SockAddr to(at(asked, port));
      ASSERT_EQ(::connect(clients[size_t(i)].get(), to.ptr(), to.len), 0);
      std::string text = i == 2 ? std::string(200, 'x') : "ask" + std::to_string(i);
      ASSERT_EQ(::send(clients[size_t(i)].get(), text.data(), text.size(), 0), ssize_t(text.size()));
    }
    DatagramExchange x(4, 64, true);
    for (size_t round = 0; round < 2; round++) {
      size_t n = *x.receive(server.get());
      ASSERT_EQ(n, round ? 1u : 4u) << "four slots, five requests";
      for (size_t i = 0; i < n; i++) {
        EXPECT_EQ(x.local(i).str(), asked);
        if (!x.from(i).port || x.request(i).empty()) continue;  // one was longer than its slot
        x.slot(i)[0] = 'A';
        x.reply(i, x.request(i).size());
      }
      x.flush(server.get());
    }
    EXPECT_EQ(*x.receive(server.get()), 0u);
    EXPECT_EQ(ask(clients[0].get()), "Ask0");
    EXPECT_EQ(ask(clients[1].get()), "Ask1");
    EXPECT_EQ(ask(clients[3].get()), "Ask3");
    EXPECT_EQ(ask(clients[4].get()), "Ask4");
    EXPECT_EQ(::recv(clients[2].get(), nullptr, 0, MSG_DONTWAIT), -1) << "what did not fit is not answered";
  }
}

}  // namespace
}  // namespace base
