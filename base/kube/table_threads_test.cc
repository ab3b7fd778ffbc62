// Tables cross threads as they do in the daemon: made on the control loop, handed over by Loop::post, read there while the
// control loop goes on. The thread sanitizer watches.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/kube/table_builder.h"

namespace base::kube {
namespace {

class Reader {
 public:
  ~Reader() {
    loop_->post([this] { loop_->stop(); });
    thread_.join();
  }
  void take(ServiceTablePtr table) {
    loop_->post([this, table = std::move(table)]() mutable {
      table_ = std::move(table);  // the one before dies here, while the control loop may be sharing its parts
      table_->each([this](const ServicePtr& s) {
        for (const auto& p : s->ports)
          for (const auto& e : p.endpoints) endpoints_ += e.ip.str().size() > 0;
      });
      read_ = table_->generation();
    });
  }
  uint64_t last_read() const { return read_; }
  size_t endpoints() const { return endpoints_; }

 private:
  std::unique_ptr<Loop> loop_ = make_libevent_loop();
  std::atomic<uint64_t> read_ = 0;
  std::atomic<size_t> endpoints_ = 0;
  ServiceTablePtr table_;
  std::thread thread_{[this] { loop_->run(); }};
};

std::string objects(int generation) {
  std::string text;
  for (int s = 0; s < 3; s++) {
    std::string name = "web-" + std::to_string(s), pod = std::to_string(2 + generation % 200);
    text += "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: shop}\nspec: {clusterIP: 10.96.0." + std::to_string(s + 1) +
            ", ports: [{name: http, port: 80}]}\n---\n";
    text += "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " + name +
            ", namespace: shop, labels: {kubernetes.io/service-name: " + name + "}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\n" +
            "endpoints: [{addresses: [172.17.0." + pod + "], nodeName: a}]\n---\n";
  }
  return text;
}

TEST(TableThreads, ATableIsReadElsewhereWhileTheNextIsMade) {
  constexpr int kRounds = 200;
  auto loop = make_libevent_loop();
  Reader one, two;
  auto builder = make_service_table_builder(*loop);
  int round = 0;
  std::unique_ptr<Timer> next;
  builder->on_change([&](const ServiceTablePtr& t, const ServiceDiff&) {
    one.take(t);
    two.take(t);
  });
  next = loop->timer([&] {
    if (++round > kRounds) return loop->stop();
    auto parsed = parse_objects(objects(round), "m.yaml");
    for (auto& o : parsed->objects) builder->upsert(o);
    next->arm(0s);
  });
  next->arm(0s);
  loop->run();
  const uint64_t last = builder->table()->generation();
  EXPECT_GT(last, 10u);
  std::unique_ptr<Timer> wait = loop->timer([&] {
    if (one.last_read() == last && two.last_read() == last) return loop->stop();
    wait->arm(1ms);
  });
  auto late = loop->timer([&] { loop->stop(); });
  wait->arm(0s);
  late->arm(20s);
  loop->run();
  EXPECT_EQ(one.last_read(), last);
  EXPECT_EQ(two.last_read(), last);
  EXPECT_GE(one.endpoints(), 3 * last - 3);
}

}  // namespace
}  // namespace base::kube
