"""Kubernetes manifests for the labs: objects as dicts, written as the YAML a person would write."""
import os
import re

PLAIN = re.compile(r"^[A-Za-z_/][\w./-]*$")
KEYWORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def scalar(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (int, float)):
        return str(v)
    return v if PLAIN.match(v) and v.lower() not in KEYWORDS else '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"'


def lines(v, indent=0):
    pad = "  " * indent
    if isinstance(v, dict):
        for k, x in v.items():
            if isinstance(x, (dict, list)) and x:
                yield f"{pad}{scalar(k)}:"
                yield from lines(x, indent + (isinstance(x, dict)))
            else:
                yield f"{pad}{scalar(k)}: " + ({dict: "{}", list: "[]"}.get(type(x)) or scalar(x))
    else:
        for x in v:
            body = list(lines(x, indent + 1)) if isinstance(x, (dict, list)) else [scalar(x)]
            yield f"{pad}- {body[0].strip()}"
            yield from body[1:]


def to_yaml(*objects):
    return "---\n".join("\n".join(lines(o)) + "\n" for o in objects)


def write(path, *objects):
    """As an editor or a sync tool does it: the new file appears whole."""
    with open(path + ".tmp", "w") as f:
        f.write(to_yaml(*objects))
    os.rename(path + ".tmp", path)


def meta(name, ns, labels=None):
    return {"name": name, **({"namespace": ns} if ns else {}), **({"labels": labels} if labels else {})}


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name, None)}


def port(number, target=None, name="", proto="TCP"):
    return {**({"name": name} if name else {}), "protocol": proto, "port": number, "targetPort": target or number}


def service(name, ips, ports, ns="default", labels=None, headless=False, **spec):
    """ips: the ClusterIPs, one per family at most. spec: further fields as they are."""
    families = ["IPv6" if ":" in ip else "IPv4" for ip in ips]
    ips = ["None"] if headless else ips
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, ns, labels),
            "spec": {"clusterIP": ips[0], "clusterIPs": ips, **({"ipFamilies": families} if families else {}),
                     "selector": {"app": name}, "ports": ports, **spec}}


def endpoints(service_name, where, ports, ns="default", family="IPv4", suffix=""):
    """where: [(address, node, pod)]; ports: as the Service's, by target."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": meta(f"{service_name}-{family.lower()}{suffix}", ns, {"kubernetes.io/service-name": service_name}),
            "addressType": family,
            "ports": [{"name": p.get("name", ""), "protocol": p["protocol"], "port": p["targetPort"]} for p in ports],
            "endpoints": [{"addresses": [ip], "conditions": {"ready": True}, **({"nodeName": node} if node else {}),
                           "targetRef": {"kind": "Pod", "namespace": ns, "name": pod}} for ip, node, pod in where]}


def destination_rule(name, load_balancer, ns="default", host=None):
    """load_balancer: as in trafficPolicy.loadBalancer, or the name of a simple one."""
    if isinstance(load_balancer, str):
        load_balancer = {"simple": load_balancer}
    return {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": meta(name, ns),
            "spec": {"host": host or name, "trafficPolicy": {"loadBalancer": load_balancer}}}


def mesh_node(name, overlay_ips, network="", roles=(), advertise=(), pod_cidrs=()):
    spec = {"overlayIPs": list(overlay_ips), "network": network, "roles": list(roles), "advertise": list(advertise), "podCIDRs": list(pod_cidrs)}
    return {"apiVersion": "mesh.edgemeshd.io/v1alpha1", "kind": "MeshNode", "metadata": meta(name, None),
            "spec": {k: v for k, v in spec.items() if v}}


def node(name, internal_ip, pod_cidrs=(), labels=None):
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta(name, None, labels),
            "spec": {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {},
            "status": {"addresses": [{"type": "InternalIP", "address": internal_ip}]}}
