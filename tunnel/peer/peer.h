// PeerMachine: everything one node knows about one peer and does to talk to it: handshakes, key sets, control messages, paths,
// punching. Sans-I/O: datagrams, signalling frames and a time in; datagrams, frames and routes out through PeerEnv. One owner
// (MeshNode), one thread.
//   peer.cc           life of a session: keys, identity, restart of the peer
//   peer_paths.cc     checks, choice of the path, liveness
//   peer_mtu.cc       how long its datagrams may be
//   peer_punch.cc     what the Puncher needs
//   peer_rival.cc     two live processes with one key
//
// Timers, all served by tick():
//   traffic poll   100 ms while packets flow, 500 ms else: last packet in and out, from the data plane
//   silence        something was sent and nothing came back by the path in use for max(400 ms, 3 RTT + 250 ms): the paths are checked
//   darkness       the same for 1 s and no path answers: a new handshake, jitter <= 200 ms, when signalling has a route
//   report         DATA came and nothing was sent for 250 ms: a CHECK-ACK with what arrived (<= 4/s)
//   first check    of a session made through the door, where the peer was heard: at once, after 100 ms, doubling, for 3 s
//   rekey          tunnel.rekeyAfter or 2^27 packets; previous keys live 30 s more
//   rival          another process of the peer shook hands: 300 ms or three round trips for the one before to answer
//   asleep         after let_go(): packets are looked for every 500 ms, for 30 s
//   plus those of HandshakeDriver, PathSet, PathMtu of the path in use, Puncher, ControlChannel
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "base/core/log.h"
#include "tunnel/data/data_plane.h"
#include "tunnel/path/check.h"
#include "tunnel/path/path_set.h"
#include "tunnel/peer/handshake_driver.h"
#include "tunnel/punch/puncher.h"
#include "tunnel/session/control_channel.h"

namespace tunnel {

class PeerEnv {  // what a PeerMachine asks of its owner; outlives it
 public:
  virtual ~PeerEnv() = default;
  virtual void send(const PathAddr&, base::ByteView datagram, uint8_t ttl = 0) = 0;
  virtual std::optional<uint32_t> open_socket() = 0;  // of the data plane, IPv4
  virtual void close_socket(uint32_t) = 0;
  virtual void signal(SignalKind, base::ByteView) = 0;
  virtual bool has_signal_route() const = 0;
  virtual std::optional<PathAddr> heard_at_door() const = 0;  // where the peer was just heard without a session
  virtual std::string signal_trouble() const { return {}; }   // why the peer cannot be signalled, in words
  virtual void add_receive_keys(DataKeysPtr) = 0;
  virtual void remove_receive_keys(uint32_t index) = 0;
  // Where DATA goes and under which keys; null: it waits in the data plane's queue.
  // inner_mtu: longer packets go in pieces.
  // stream: not 0, without keys: they come to carry() instead.
  virtual void set_route(DataKeysPtr, const PathAddr&, uint16_t inner_mtu, uint64_t stream) = 0;
  virtual void deliver(base::ByteView packet) = 0;  // an inner one that came with the handshake
  // What the kernel is to think of the way to this peer. While a new path's MTU is searched, it stays.
  virtual void on_inner_mtu(uint16_t) = 0;
  virtual PeerTraffic traffic() const = 0;
  // Who the peer is, before any packet of it can be accepted.
  virtual void on_identity(const base::NodeIdentity&) = 0;
  // A session can be used. instance_changed: the peer forgot everything it was told before.
  virtual void on_session(bool instance_changed) = 0;
  // What opens the door to this peer from now on; it has it too.
  virtual void on_secret(const ResumeSecret&) = 0;
  virtual ControlBody on_request(const ControlBody&) = 0;
  virtual void ask_outside() = 0;           // relays, where this node is seen now
  virtual void on_port_step(int step) = 0;  // new mappings of this node's NAT go up by that
  virtual void log(base::LogLevel, const std::string&) = 0;
};

struct PunchAttempt {
  PunchRung rung;
  bool ok;
  base::Duration took;
};
inline constexpr size_t kAttemptsShown = 8;

class PeerMachine : private PunchEnv {
 public:
  PeerMachine(std::string name, NodeContext&, PeerEnv&);
  ~PeerMachine();

  void want(base::Instant now);        // interest: a session soon
  void call_again(base::Instant now);  // had a session with our earlier process, and may still use it: one handshake, if it is there
  void set_advertised(const std::vector<base::IpPort>&, base::Instant now);
  void set_lan(const std::vector<base::IpPort>&, base::Instant now);  // heard there on a link of this node
  void deny(const std::string& why);                                  // drops keys and paths; nothing is accepted until allow()
  void allow() { denied_ = false; }
  // How long no inner packet has passed; none: no session, or something of it is under way.
  std::optional<base::Duration> idle_for(base::Instant now) const;
  // The session ends on both sides without an alarm; identity and what the peer is known by stay, and the next packet makes another.
  // Packets that crossed it are taken for kPreviousKeysLife, and make one too. tell: the peer does not know yet.
  void let_go(bool tell, base::Instant now);
  bool is_told_to_let_go() const { return told_to_let_go_; }

  void on_signal(SignalKind, base::ByteView, base::Instant now);
  void on_datagram(const PathAddr& from, base::ByteView packet, base::Instant now);  // sealed, for one of our indices
  void on_first_data(uint32_t index, base::Instant now);
  enum class Binding : uint8_t { none, own, both };  // of the ends of a relay channel
  void on_relay_path(const PathAddr&, Binding, base::Instant now);
  void carry(base::ByteView packet, base::Instant now);                  // one that waited for keys: with the handshake
  void doubt(const PathAddr&, base::Instant now);                        // it may just have died: checked at once
  void on_routes_changed(base::Instant now);                             // of signalling
  void on_udp_back(base::Instant now);                                   // a direct path may be possible now
  void resume(base::Instant now);                                        // the door is open: a handshake, unless the session works
  void on_own_candidates(base::Instant now);                             // or the network changed
  bool on_stun(uint32_t socket, const StunMessage&, base::Instant now);  // true: it was for this peer
  void tick(base::Instant now);
  base::Instant next_deadline() const { return next_; }  // valid after tick()

  void request(ControlBody, ControlChannel::Answer, base::Instant now);  // needs a session
  void ping(std::function<void(base::Result<base::Duration>, std::string path)>, base::Instant now);
  void close(const std::string& reason);  // tells the peer, best effort

  const std::string& name() const { return name_; }
  bool is_up() const { return keys_.has_current() && active_.has_value(); }
  bool has_session() const { return keys_.has_current(); }
  bool is_wanted() const { return wanted_; }
  bool is_denied() const { return denied_; }
  // No path works, or no session stands that is wanted, or the keys are old: only a handshake helps.
  bool needs_handshake(base::Instant now) const;
  bool is_cut_off() const;                                                   // there is a session, and no path answered its last check
  bool is_caller() const { return driver_.is_wanted() && !is_answering(); }  // the handshake that runs was begun here; there
  bool is_answering() const { return driver_.is_busy() && !driver_.is_caller(); }
  bool is_connecting() const { return !is_up() && (wanted_ || driver_.is_wanted()); }
  const std::optional<base::NodeIdentity>& identity() const { return identity_; }
  const std::string& network() const { return peer_.network; }
  const std::optional<PathAddr>& active() const { return active_; }
  const std::list<Path>& paths() const { return paths_.all(); }
  const std::vector<Candidate>& remote_candidates() const { return remote_candidates_; }
  uint16_t inner_mtu() const { return told_mtu_ ? told_mtu_ : kInnerMtuStart; }  // as the kernel sees it
  bool is_failing(const PathAddr&) const;                                        // its checks go unanswered
  bool is_usable(const PathAddr&) const;                                         // it answers
  bool is_hopeless(const PathAddr&) const;                                       // for so long that another way is worth looking for
  bool is_direct() const;                                                        // a direct path is in use and answers
  const std::string& last_error() const { return last_error_; }
  base::Instant since() const { return up_since_; }
  const std::vector<PunchAttempt>& attempts() const { return attempts_; }  // driven by this side
  std::optional<PunchRung> rung() const { return punch_.won(); }           // that made the direct path
  const NatClass& remote_nat() const { return punch_.remote_nat(); }
  std::optional<base::Duration> direct_after() const { return direct_after_; }  // the session stood
  void note_error(std::string e) { last_error_ = std::move(e); }

 private:
  // life of a session (peer.cc)
  std::unique_ptr<Handshake> make_handshake(bool client);
  void on_outcome(const Handshake::Outcome&);
  void on_handshake_failed(const base::Error&);
  void on_packet(base::ByteView);
  void promote(uint32_t index);
  void on_new_current();
  ControlBody on_request(const ControlBody&);
  void drop_index(uint32_t index);
  bool is_dark(base::Instant now) const;
  bool is_rekey_due(base::Instant now) const;
  void rekey_if_due();
  void wake_if_heard();
  void restart_if_dark();
  void check_door_path();
  void on_heard(base::Instant now, bool by_active);
  bool is_active(const PathAddr& from) const;
  // two processes (peer_rival.cc)
  struct Rival {
    uint32_t index = 0;  // of its keys, which wait
    base::Instant until{}, ask_at{};
    std::vector<uint64_t> asked;  // txids of the CHECKs that only the process before can answer
    bool has_keys = false;        // it was seen to have them: promote() when it wins
    base::NodeIdentity identity;
  };
  bool contest(uint32_t index, const Handshake::Outcome&);
  void ask_older();
  bool is_older_alive(uint64_t txid) const;
  void refuse_rival();
  void settle_rival();
  void take_identity(const base::NodeIdentity&);
  // paths (peer_paths.cc)
  void on_check(const PathAddr& from, base::ByteView plain, size_t size);
  void on_check_ack(base::ByteView plain);
  void send_check(Path&);
  void send_sealed(const PathAddr&, PacketType, base::ByteView plain);
  void send_report();
  CheckAck feedback() const;
  bool take_candidates(std::vector<Candidate>, const NatClass&);
  void tell_candidates();
  // peer_mtu.cc
  void use_mtu_of_path();
  void drive_mtu();
  void on_mtu_ack(uint64_t txid);
  uint16_t routed_mtu() const;
  // punching (peer_punch.cc)
  void start_round();
  void drive_punch();
  void on_punch(const PunchNow&);
  void send_probe(const PathAddr&, uint8_t ttl) override;
  void send_stun(const PathAddr&, const StunId&) override;
  std::optional<uint32_t> open_socket() override;
  void close_socket(uint32_t) override;
  bool is_socket_used(uint32_t) const override;
  void tell(PunchNow, std::function<void(bool)> answered) override;
  bool take_probe(base::Instant now) override;
  bool take_birthday(bool take) override;
  bool is_busy() const override;
  bool has_path() const override;
  base::Duration path_rtt() const override;
  NatClass own_nat() const override;
  std::optional<base::IpPort> own_outside() const override;
  std::vector<base::IpPort> stun_servers() const override;
  void on_attempt(PunchRung, bool ok, base::Duration took) override;
  void ask_outside() override { env_.ask_outside(); }
  void on_port_step(int step) override { env_.on_port_step(step); }
  void on_birthday_skipped(BirthdaySkip) override;
  // paths (peer_paths.cc)
  void drive_paths();
  void choose_path();
  void apply_route();
  void note_unproved(const PathAddr&);
  void poll_traffic();
  void watch_silence();
  void finish_pings(const Path*);
  void compute_deadline();
  bool may_go_direct() const { return node_.config.direct; }
  const Path* active_path() const;
  Path* active_path();

  std::string name_;
  NodeContext& node_;
  PeerEnv& env_;
  base::Instant now_{}, next_{};
  HandshakeDriver driver_;
  KeySets keys_;
  ControlChannel control_;
  PathSet paths_;
  Puncher punch_;
  std::vector<PunchAttempt> attempts_;
  std::optional<base::Duration> direct_after_;

  bool wanted_ = false, denied_ = false, told_to_let_go_ = false;
  std::optional<base::Instant> asleep_until_;  // keys of the session that was let go still receive
  std::optional<base::NodeIdentity> identity_;
  SessionHello peer_;                       // of the current session
  std::optional<SessionHello> next_hello_;  // of the key set that waits to be current
  ResumeSecret next_secret_;                // the same
  uint32_t own_index_ = 0;                  // of the attempt that runs
  uint32_t next_index_ = 0;
  std::string last_error_;
  base::Instant up_since_{}, current_since_{};
  std::optional<Rival> rival_;
  base::Instant rival_told_{};
  bool has_closed_ = false;            // the peer said that it goes
  std::optional<PathAddr> door_path_;  // where the current session was made, until a path stands
  base::Instant door_check_{};

  std::vector<Candidate> told_candidates_, remote_candidates_;  // by the peer; with what else is known of it
  std::vector<base::IpPort> advertised_, lan_;
  uint64_t told_revision_ = 0;                       // of the newest list of its candidates, by its present process
  uint64_t hello_revision_ = 0, sent_revision_ = 0;  // of the own candidates: in the last hello; as the peer has them
  std::optional<PathAddr> active_;
  std::optional<PathAddr> unproved_;  // a relay channel with both ends bound: DATA goes there until a path is proved
  DataKeysPtr routed_keys_;
  std::optional<PathAddr> routed_path_;
  uint16_t routed_mtu_ = 0, told_mtu_ = 0;
  uint64_t routed_stream_ = 0;
  uint64_t seen_long_ = 0;

  base::Instant last_heard_{}, last_sent_{}, last_report_{}, next_poll_{}, last_moving_{};
  std::optional<base::Instant> unanswered_since_;
  uint64_t sent_before_ = 0;  // data packets under earlier keys
  uint64_t seen_tx_ = 0, seen_rx_ = 0, reported_rx_ = 0;
  base::Instant last_move_{};

  struct Ping {
    base::Instant at, give_up;
    uint64_t txid = 0;
    std::function<void(base::Result<base::Duration>, std::string)> done;
  };
  std::vector<Ping> pings_;
};

}  // namespace tunnel
