package egress

import (
	"net/netip"

	"hefring/models"
)

// network is a range of addresses that is not the public internet.
type network struct {
	prefix string
	kind   string // completes "the address … is"
}

// blockedNetworks lists them one by one: the predicates of netip and net miss
// about half of them.
func blockedNetworks() []network {
	return []network{
		{"0.0.0.0/8", "this machine"},
		{"10.0.0.0/8", "private"},
		{"100.64.0.0/10", "shared by a provider's network"},
		{"127.0.0.0/8", "this machine"},
		{"168.63.129.16/32", "a cloud's metadata service"},
		{"169.254.0.0/16", "link-local, where clouds have their metadata service"},
		{"172.16.0.0/12", "private"},
		{"192.0.0.0/24", "reserved for protocols"},
		{"192.0.2.0/24", "reserved for documentation"},
		{"192.88.99.0/24", "a 6to4 relay"},
		{"192.168.0.0/16", "private"},
		{"198.18.0.0/15", "reserved for benchmarks"},
		{"198.51.100.0/24", "reserved for documentation"},
		{"203.0.113.0/24", "reserved for documentation"},
		{"224.0.0.0/4", "multicast"},
		{"240.0.0.0/4", "reserved"},
		{"::/96", "this machine, or an IPv4 address in disguise"},
		{"64:ff9b::/96", "an IPv4 address in disguise (NAT64)"},
		{"64:ff9b:1::/48", "an IPv4 address in disguise (NAT64)"},
		{"100::/64", "a sink"},
		{"2001::/32", "an IPv4 address in disguise (Teredo)"},
		{"2001::/23", "reserved for protocols"},
		{"2001:db8::/32", "reserved for documentation"},
		{"2002::/16", "an IPv4 address in disguise (6to4)"},
		{"3fff::/20", "reserved for documentation"},
		{"fc00::/7", "private"},
		{"fe80::/10", "link-local"},
		{"fec0::/10", "site-local"},
		{"ff00::/8", "multicast"},
		{"::/3", "not public"},
		{"4000::/2", "not public"},
		{"8000::/1", "not public"},
	}
}

// CheckAddr says whether connections to an address are made. A refusal is a
// models.Error that says how an administrator can allow it.
func (g *Guard) CheckAddr(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range g.config.Allow {
		if prefix.Contains(addr) {
			return nil
		}
	}
	for _, n := range blockedNetworks() {
		if netip.MustParsePrefix(n.prefix).Contains(addr) {
			return models.Errorf(models.Forbidden,
				"Address blocked: %s is %s; an administrator can allow it with --egress-allow %s", addr, n.kind, suggestion(n.prefix, addr)).Because(models.ReasonAddressBlocked)
		}
	}
	return nil
}

// suggestion is the narrowest network worth allowing: the known one, or the
// address alone where that would be a large part of the internet.
func suggestion(prefix string, addr netip.Addr) string {
	p := netip.MustParsePrefix(prefix)
	if p.Bits() < 7 || prefix == "::/96" {
		return netip.PrefixFrom(addr, addr.BitLen()).String()
	}
	return prefix
}
