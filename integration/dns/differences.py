"""Why our answers may differ from those of others. Each entry: the peers it is about, when it applies, and the reason. A difference to which
no entry applies fails the test (differential.py). ours, theirs: messages.Answer; q: messages.Message; field: what differs."""
import struct

KNOWN = []


def because(reason, peers=("knot", "nsd"), fields=None):
    def add(applies):
        KNOWN.append((applies, reason, peers, fields))
        return applies
    return add


def reason_for(peer, field, q, ours, theirs):
    for applies, reason, peers, fields in KNOWN:
        if peer in peers and (fields is None or field in fields) and applies(q, ours, theirs):
            return reason
    return None


class Parts:
    """A query as RFC 1035 reads it: what it says and what is left over; zeros where it ends too early."""

    def __init__(self, q):
        m = q.data
        self.flags = self.opcode = self.qtype = self.qclass = self.opt_class = 0
        self.name, self.trailing, self.others, self.cut = b"", False, False, False
        try:
            self.flags, qd, *counts = struct.unpack(">5H", m[2:12])
            self.opcode = self.flags >> 11 & 15
            p = 12
            for _ in range(qd):
                end = self.skip(m, p)
                self.name, p = m[p:end].lower(), end + 4
                self.qtype, self.qclass = struct.unpack(">HH", m[end:p])
            for _ in range(sum(counts)):
                p = self.skip(m, p)
                kind, klass, size = struct.unpack(">HH4xH", m[p:p + 10])
                self.others |= kind != 41
                if kind == 41:
                    self.opt_class = klass
                p += 10 + size
            self.trailing, self.cut = p < len(m), p > len(m)
        except (struct.error, IndexError):
            pass

    @staticmethod
    def skip(m, p):
        while m[p]:
            if m[p] >= 192:
                return p + 2
            p += 1 + m[p]
        return p + 1


# ---- what the servers are

@because("a resolver asks upstream for names outside its zones (there is none here: SERVFAIL); an authoritative server refuses them", fields=["rcode"])
def outside(q, ours, theirs):
    return ours.rcode == 2 and theirs.rcode == 5


@because("ANY for a name outside is answered with one HINFO (RFC 8482 §4.2) instead of being refused", fields=["rcode"])
def any_outside(q, ours, theirs):
    return ours.rcode == 0 and theirs.rcode == 5 and [(k, d) for _, k, _, _, d in ours.sections[0]] == [(13, "075246433834383200")]


# ---- errors

@because("a reply to what could not be read, or has another opcode, is a header alone; which parts of the query to repeat is left open (RFC 1035 §4.1.1)",
         fields=["question", "opt"])
def error_is_a_header(q, ours, theirs):
    return ours.rcode == theirs.rcode and ours.rcode in (1, 4) and not ours.question and ours.opt is None


@because("a message that is malformed is dropped there; here its sender learns that it is (FORMERR)", fields=["answered"])
def dropped(q, ours, theirs):
    return ours.rcode in (1, 4) and theirs.rcode is None and not theirs.broken


@because("an OPT whose owner is not the root is malformed (RFC 6891 §6.1.2); knot reads it all the same", ["knot"], ["rcode"])
def opt_owner(q, ours, theirs):
    return "opt-owner" in q.special and ours.rcode == 1


@because("a cookie of less than 8, 9 to 15, or more than 40 octets is malformed (RFC 7873 §5.2.2); both peers have cookies switched off", fields=["rcode"])
def cookie_length(q, ours, theirs):
    return "bad-cookie" in q.special and ours.rcode == 1


@because("nsd takes no other records than OPT in a query; nothing forbids them", ["nsd"], ["rcode"])
def extra_record(q, ours, theirs):
    return theirs.rcode == 1 and Parts(q).others


@because("nsd drops some of the queries with other records than OPT", ["nsd"], ["answered"])
def extra_record_dropped(q, ours, theirs):
    return theirs.rcode is None and Parts(q).others


@because("records other than OPT are walked over here; knot looks into them and finds data that does not fit its type", ["knot"], ["rcode"])
def extra_record_read(q, ours, theirs):
    return theirs.rcode == 1 and Parts(q).others


@because("a UDP size below 512 means 512 (RFC 6891 §6.2.3); knot calls a size of 1 malformed", ["knot"], ["rcode"])
def size_of_one(q, ours, theirs):
    return theirs.rcode == 1 and Parts(q).opt_class == 1


@because("a record that ends behind the message is malformed; nsd sees the EDNS version first", ["nsd"], ["rcode"])
def version_of_a_cut_record(q, ours, theirs):
    return ours.rcode == 1 and theirs.rcode == 16 and Parts(q).cut


@because("options of an EDNS version nobody knows are not judged (BADVERS); knot judges them first", ["knot"], ["rcode"])
def options_of_another_version(q, ours, theirs):
    return ours.rcode == 16 and theirs.rcode == 1


@because("octets behind a message are not part of it and are ignored here; knot calls them malformed", ["knot"], ["rcode"])
def trailing(q, ours, theirs):
    return theirs.rcode == 1 and Parts(q).trailing


@because("bits of the header that mean nothing in a query (AA, TC, RA, Z, the response code) are ignored here (RFC 1035 §4.1.1); nsd refuses them",
         ["nsd"], ["rcode"])
def header_bits(q, ours, theirs):
    return theirs.rcode == 1 and Parts(q).flags & 0x06CF


# ---- opcodes, classes and types

@because("any opcode but QUERY is NOTIMP here, whatever follows; the others read NOTIFY and UPDATE, and the message first", fields=["rcode"])
def opcode(q, ours, theirs):
    return ours.rcode == 4 and Parts(q).opcode


@because("nsd's NOTIMP and BADVERS repeat the flags of the query; AA and TC say nothing in them", ["nsd"], ["aa", "tc"])
def repeated_flags(q, ours, theirs):
    return ours.rcode == theirs.rcode and ours.rcode in (4, 16)


@because("to class ANY nsd answers without AA and SOA, as it cannot know the other classes; there are no other classes here, and a denial "
         "without SOA could not be kept", ["nsd"], ["aa", "authority"])
def class_any(q, ours, theirs):
    return Parts(q).qclass == 255


@because("nsd does not repeat the question when it refuses a class; clients match answers by it", ["nsd"], ["question"])
def class_refused(q, ours, theirs):
    return ours.rcode == 5 and Parts(q).qclass not in (1, 255) and ours.question and not theirs.question


@because("transfers are refused (REFUSED); the others say NOTIMP to AXFR over UDP, NOTAUTH to IXFR of what is no zone", fields=["rcode"])
def transfers(q, ours, theirs):
    return Parts(q).qtype in (251, 252) and ours.rcode == 5 and theirs.rcode in (4, 9)


@because("a type that no record can have (0, OPT, 249 to 254) is denied as any other type that is not there; the others say NOTIMP or FORMERR", fields=["rcode"])
def meta_types(q, ours, theirs):
    return Parts(q).qtype in (0, 41, 249, 250, 253, 254) and ours.rcode in (0, 2, 3) and theirs.rcode in (1, 4)


@because("to ANY one record set is given (RFC 8482 §4.1); each server picks its own", fields=["answer", "authority"])
def any_type(q, ours, theirs):
    return Parts(q).qtype == 255


# ---- what Kubernetes' specification says

@because("pod.<zone> exists also where no pod has a name (an empty non-terminal of the specification's schema)", fields=["rcode"])
def pod_exists(q, ours, theirs):
    return Parts(q).name == b"\3pod\7cluster\5local\0" and ours.rcode == 0 and theirs.rcode == 3
