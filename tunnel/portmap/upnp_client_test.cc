#include "tunnel/portmap/upnp_client.h"

#include <gtest/gtest.h>

#include <map>

#include "base/sim/sim_loop.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
using base::IpAddr;
using base::IpPort;

const IpAddr kRouter = *IpAddr::parse("192.168.1.1"), kOwn = *IpAddr::parse("192.168.1.10");

std::string description(const std::string& type, const std::string& control, const std::string& base = "") {
  return "<?xml version=\"1.0\"?>\n<root xmlns=\"urn:schemas-upnp-org:device-1-0\">" +
         (base.empty() ? "" : "<URLBase>" + base + "</URLBase>") +
         "<device><serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>"
         "<controlURL>/l3f</controlURL></service></serviceList><deviceList><device><serviceList><service>\r\n  <serviceType> " +
         type + " </serviceType><controlURL>" + control + "</controlURL></service></serviceList></device></deviceList></device></root>";
}
const std::string kIp1 = "urn:schemas-upnp-org:service:WANIPConnection:1", kIp2 = "urn:schemas-upnp-org:service:WANIPConnection:2";

std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const size_t a = text.find(from);
  if (a == text.npos) return "-";
  return text.substr(a + from.size(), text.find(to, a + from.size()) - a - from.size());
}

// A gateway of our own behind the client's hooks.
struct Gateway {
  bool silent = false, no_leases = false, dead = false;
  int refuse = 0;
  std::string address = "203.0.113.7", location = "http://192.168.1.1:5000/root.xml", xml = description(kIp1, "/ctl");
  std::map<int, std::string> mapped;  // outside port -> client:port lease
  std::map<int, int> taken;           // by others
  int searches = 0, adds = 0;
};

struct Lab {
  base::SimLoop loop;
  base::SeededRng rng{3};
  base::Metrics metrics;
  Gateway router;
  std::vector<UpnpAsk> asked;
  std::optional<UpnpAsk> open;
  int changes = 0;
  UpnpClient client{20006,
                    {[this](const IpPort& to, const std::string& m) {
                       if (to.ip != kRouter) return;
                       EXPECT_EQ(to.port, 1900);
                       EXPECT_TRUE(m.starts_with("M-SEARCH * HTTP/1.1\r\n"));
                       router.searches++;
                     },
                     [this](UpnpAsk a) { asked.push_back(a), open = std::move(a); }, [this] { changes++; }},
                    rng,
                    metrics};

  Lab() { client.set_way(PortmapWay{kRouter, kOwn}, loop.now()); }
  void run(base::Duration d) {
    for (base::Instant end = loop.now() + d; loop.now() < end;) {
      loop.run_for(50ms);
      if (loop.now() >= client.next_deadline()) client.tick(loop.now());
      if (std::exchange(router.searches, 0) && !router.silent)
        client.on_search_answer({kRouter, 1900}, "HTTP/1.1 200 OK\r\nlocation:" + router.location + "\r\nST: x\r\n\r\n", loop.now());
      while (auto a = std::exchange(open, std::nullopt)) answer(*a);
    }
  }
  void answer(const UpnpAsk& a) {
    if (router.dead) return client.on_failed(loop.now());
    if (a.action.empty()) return client.on_answer(200, router.xml, loop.now());
    auto fault = [&](int code) {
      client.on_answer(500,
                       "<s:Envelope><s:Body><s:Fault><detail><UPnPError><errorCode>" + std::to_string(code) +
                           "</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>",
                       loop.now());
    };
    if (a.action.find("#GetExternalIPAddress") != std::string::npos)
      return client.on_answer(200, "<e><NewExternalIPAddress>" + router.address + "</NewExternalIPAddress></e>", loop.now());
    EXPECT_NE(a.action.find("#AddPortMapping"), std::string::npos) << a.action;
    router.adds++;
    const int port = std::stoi(between(a.body, "<NewExternalPort>", "<"));
    const std::string lease = between(a.body, "<NewLeaseDuration>", "<");
    EXPECT_EQ(between(a.body, "<NewProtocol>", "<"), "UDP");
    if (router.refuse) return fault(router.refuse);
    if (router.no_leases && lease != "0") return fault(725);
    if (router.taken.contains(port)) return fault(718);
    router.mapped[port] = between(a.body, "<NewInternalClient>", "<") + ":" + between(a.body, "<NewInternalPort>", "<") + " " + lease;
    client.on_answer(200, "<ok/>", loop.now());
  }
  std::string outside() const { return client.outside() ? client.outside()->str() : "-"; }
};

// ---- messages

TEST(UpnpMessage, ALocationIsTakenOnlyAsAnAddress) {
  auto at = [](const std::string& location) {
    auto p = read_ssdp("HTTP/1.1 200 OK\r\nEXT:\r\nLocation: " + location + "\r\n\r\n");
    return p ? p->server.str() + " " + p->path : "-";
  };
  EXPECT_EQ(at("http://192.168.1.1:5000/root.xml"), "192.168.1.1:5000 /root.xml");
  EXPECT_EQ(at("HTTP://192.168.1.1"), "192.168.1.1:80 /");
  for (const char* bad :
       {"https://192.168.1.1/x", "http://router.lan/x", "http://[fe80::1]/x", "http://192.168.1.1:0/x", "http://192.168.1.1/a b", ""})
    EXPECT_EQ(at(bad), "-") << bad;
  EXPECT_FALSE(read_ssdp("NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/x\r\n\r\n"));
}

TEST(UpnpMessage, TheServiceIsFoundWhereverItLies) {
  const UpnpPlace from{{kRouter, 5000}, "/root.xml"};
  auto control = [&](const std::string& xml) {
    auto s = read_description(xml, from);
    return s ? s->control.server.str() + s->control.path : "-";
  };
  EXPECT_EQ(control(description(kIp1, "/ctl?a=1&amp;b=2")), "192.168.1.1:5000/ctl?a=1&b=2");
  EXPECT_EQ(control(description(kIp2, "ctl")), "192.168.1.1:5000/ctl");
  EXPECT_EQ(control(description(kIp1, "/ctl", "http://192.168.1.1:5001/")), "192.168.1.1:5001/ctl");
  EXPECT_EQ(control(description("urn:schemas-upnp-org:service:WANPPPConnection:1", "http://192.168.1.1:80/p")), "192.168.1.1:80/p");
  EXPECT_EQ(control(description("urn:schemas-upnp-org:service:Other:1", "/ctl")), "-");
  EXPECT_EQ(control(description(kIp1, "http://203.0.113.5/steal")), "-") << "another host";
  EXPECT_EQ(control(description(kIp1, "/ctl", "http://10.0.0.1/")), "-");
  EXPECT_EQ(control(description(kIp1, "/c\rX: y")), "-");
  EXPECT_EQ(control(description(kIp1, "/ctl").substr(0, 200)), "-");
}

// ---- the client

TEST(UpnpClient, APortIsMappedRenewedAtHalfLifeAndGivenBack) {
  Lab lab;
  lab.run(2s);
  EXPECT_TRUE(lab.asked.empty()) << "PCP goes first";
  lab.run(3s);
  EXPECT_EQ(lab.outside(), "203.0.113.7:20006");
  EXPECT_EQ(lab.router.mapped[20006], "192.168.1.10:20006 3600");
  EXPECT_EQ(lab.asked.back().action, "\"" + kIp1 + "#AddPortMapping\"");
  EXPECT_EQ(lab.asked.back().at.path, "/ctl");
  lab.run(1790s);
  EXPECT_EQ(lab.router.adds, 1);
  lab.run(20s);
  EXPECT_EQ(lab.router.adds, 2);
  lab.run(24h);
  EXPECT_EQ(lab.outside(), "203.0.113.7:20006");
  EXPECT_EQ(lab.changes, 1);
  auto bye = lab.client.farewell();
  ASSERT_TRUE(bye);
  EXPECT_NE(bye->action.find("#DeletePortMapping"), std::string::npos);
  EXPECT_EQ(between(bye->body, "<NewExternalPort>", "<"), "20006");
}

TEST(UpnpClient, ATakenPortIsExchangedForAnotherAndARouterWithoutLeasesServedToo) {
  Lab lab;
  lab.router.taken[20006] = 1;
  lab.router.no_leases = true;
  lab.run(10s);
  ASSERT_TRUE(lab.client.outside());
  EXPECT_NE(lab.client.outside()->port, 20006);
  EXPECT_EQ(lab.router.mapped.begin()->second, "192.168.1.10:20006 0");
  const int port = lab.client.outside()->port;
  lab.run(2h);
  EXPECT_EQ(lab.client.outside()->port, port) << "the same again";
}

TEST(UpnpClient, WhoeverIsNotTheGatewayIsNotListenedTo) {
  Lab lab;
  lab.router.silent = true;
  lab.run(3100ms);
  lab.client.on_search_answer({*IpAddr::parse("192.168.1.66"), 1900}, "HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.66/x\r\n\r\n",
                              lab.loop.now());
  lab.client.on_search_answer({kRouter, 1900}, "HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.66/x\r\n\r\n", lab.loop.now());
  EXPECT_TRUE(lab.asked.empty());
}

TEST(UpnpClient, SilenceRefusalAndNonsenseEndInAPauseWithItsReason) {
  struct Case {
    std::function<void(Gateway&)> is;
    const char* says;
  };
  for (auto& [is, says] :
       {Case{[](Gateway& g) { g.silent = true; }, "no UPnP"}, Case{[](Gateway& g) { g.refuse = 606; }, "does not allow this node"},
        Case{[](Gateway& g) { g.xml = "<html>"; }, "without a service"},
        Case{[](Gateway& g) { g.address = "0.0.0.0"; }, "no outside address"},
        Case{[](Gateway& g) { g.dead = true; }, "does not answer"}}) {
    Lab lab;
    is(lab.router);
    lab.run(60s);
    EXPECT_EQ(lab.outside(), "-");
    EXPECT_NE(lab.client.trouble().find(says), std::string::npos) << lab.client.trouble();
    const size_t asked = lab.asked.size();
    lab.run(500s);
    EXPECT_EQ(lab.asked.size(), asked) << says;
    lab.router = Gateway{};
    lab.run(200s);
    EXPECT_EQ(lab.outside(), "203.0.113.7:20006") << "after the pause: " << says;
  }
}

TEST(UpnpClient, OneLostAnswerDoesNotEndAMappingAndARouterThatIsGoneDoes) {
  Lab lab;
  lab.run(10s);
  lab.router.dead = true;
  lab.run(40min);
  EXPECT_EQ(lab.outside(), "203.0.113.7:20006");
  lab.router.dead = false;
  lab.run(20min);
  EXPECT_EQ(lab.outside(), "203.0.113.7:20006");
  lab.router.dead = lab.router.silent = true;
  lab.run(2h);
  EXPECT_EQ(lab.outside(), "-");
}

TEST(UpnpClient, AnotherRouterOrSomethingBetterEndsIt) {
  Lab lab;
  lab.run(10s);
  EXPECT_EQ(lab.changes, 1);
  lab.client.set_way(std::nullopt, lab.loop.now());
  EXPECT_EQ(lab.outside(), "-");
  EXPECT_EQ(lab.changes, 2);
  const size_t asked = lab.asked.size();
  lab.run(1h);
  EXPECT_EQ(lab.asked.size(), asked);
}

}  // namespace
}  // namespace tunnel
