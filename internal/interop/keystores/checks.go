package main

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	"github.com/esdk-go/esdk/kms/kmstest"
)

// An exchange is the use of one table by two SDKs. A failure panics with a
// disagreement.
type exchange struct {
	a, b       *party
	server     *kmstest.Server
	table      string
	operations int
}

type disagreement string

func (x *exchange) run(check func(*exchange)) (err error) {
	defer func() {
		if d, ok := recover().(disagreement); ok {
			err = fmt.Errorf("%s", string(d))
		}
	}()
	check(x)
	return nil
}

func failf(format string, args ...any) { panic(disagreement(fmt.Sprintf(format, args...))) }

// A store is how a party looks at the table.
type store struct {
	x     *exchange
	by    *party
	kms   string
	key   string
	logic string
}

// under returns a store of one key, of a party.
func (x *exchange) under(by *party, key string) *store {
	return &store{x, by, "key", key, "the name ß"}
}

// ask does an operation, whatever comes of it.
func (s *store) ask(r request) *reply {
	r.Table, r.LogicalName, r.KMS, r.Endpoint = s.x.table, s.logic, s.kms, s.x.server.URL()
	r.Key, r.Region = s.key, s.key
	if strings.HasPrefix(s.key, "arn:") {
		r.Region = strings.Split(s.key, ":")[3]
	}
	s.x.operations++
	got, err := s.by.do(&r)
	if err != nil {
		failf("%s: %s: %v", s.by.name, r.Op, err)
	}
	return got
}

// must does an operation that must succeed.
func (s *store) must(r request) *reply {
	got := s.ask(r)
	if got.Error != "" {
		failf("%s: %s: %s", s.by.name, r.Op, got.Error)
	}
	return got
}

// refuses does an operation that must fail.
func (s *store) refuses(r request) {
	if got := s.ask(r); got.Error == "" {
		failf("%s: %s was done", s.by.name, r.Op)
	}
}

func (s *store) createTable() string { return s.must(request{Op: "createTable"}).Table }

func (s *store) createKey(id string, ec map[string]string) string {
	return s.must(request{Op: "createKey", ID: id, Context: ec}).ID
}

func (s *store) rotate(id string)        { s.must(request{Op: "rotate", ID: id}) }
func (s *store) active(id string) *reply { return s.must(request{Op: "active", ID: id}) }
func (s *store) beacon(id string) *reply { return s.must(request{Op: "beacon", ID: id}) }
func (s *store) version(id, version string) *reply {
	return s.must(request{Op: "version", ID: id, Version: version})
}

// same fails if the parties did not get one and the same key.
func same(a, b *reply) {
	if a.ID != b.ID || a.Version != b.Version || !bytes.Equal(a.Material, b.Material) || len(a.Material) != 32 || !maps.Equal(a.Context, b.Context) {
		failf("one has key %q, version %q, context %v, the other %q, %q, %v; the keys are equal: %v",
			a.ID, a.Version, a.Context, b.ID, b.Version, b.Context, bytes.Equal(a.Material, b.Material))
	}
}

// checks are what the parties do together.
var checks = []struct {
	name  string
	check func(*exchange)
}{
	{"one KMS key, rotated in turn", oneKey},
	{"replicas, rotated in turn", replicas},
	{"discovery", discovery},
	{"refusals", refusals},
}

func oneKey(x *exchange) {
	key := x.server.CreateKey("us-east-1")
	a, b := x.under(x.a, key), x.under(x.b, key)
	if one, two := a.createTable(), b.createTable(); one != two {
		failf("tables %s and %s", one, two)
	}
	ec := map[string]string{"tenant": "t 17", "größe": "ß", "empty": "", "aws-crypto-ec:": "x"}
	for _, id := range []string{a.createKey("", nil), a.createKey("", ec), a.createKey("tenant größe", ec)} {
		rotated(id, a, b)
	}
}

// rotated lets the parties rotate a key in turn and read all versions.
func rotated(id string, a, b *store) {
	beacon := a.beacon(id)
	same(beacon, b.beacon(id))
	var versions []*reply
	for _, by := range []*store{b, a, a, b} {
		active := a.active(id)
		same(active, b.active(id))
		for _, earlier := range versions {
			if earlier.Version == active.Version || bytes.Equal(earlier.Material, active.Material) {
				failf("version %s is active again", active.Version)
			}
		}
		versions = append(versions, active)
		by.rotate(id)
	}
	for _, want := range versions {
		same(want, a.version(id, want.Version))
		same(want, b.version(id, want.Version))
	}
	same(a.active(id), b.active(id))
	same(beacon, b.beacon(id))
}

func replicas(x *exchange) {
	keys := x.server.CreateMultiRegionKey("us-east-1", "eu-west-1")
	a, b := x.under(x.a, keys[0]), x.under(x.b, keys[1])
	a.createTable()
	id := a.createKey("", map[string]string{"tenant": "t 17"})
	b.refuses(request{Op: "active", ID: id})
	b.refuses(request{Op: "rotate", ID: id})
	b.kms = "multiRegionKey"
	rotated(id, a, b) // a still is of one key: the ARN in the items stays
	there := &store{x, x.b, "multiRegionDiscovery", "eu-west-1", a.logic}
	same(a.active(id), there.active(id))
	same(a.beacon(id), there.beacon(id))
}

func discovery(x *exchange) {
	a := x.under(x.a, x.server.CreateKey("us-east-1"))
	a.createTable()
	id := a.createKey("tenant", map[string]string{"tenant": "t 17"})
	b := &store{x, x.b, "discovery", "us-east-1", a.logic}
	first := a.active(id)
	same(first, b.active(id))
	a.rotate(id)
	same(a.active(id), b.active(id))
	same(first, b.version(id, first.Version))
	same(a.beacon(id), b.beacon(id))
	for _, s := range []*store{b, {x, x.b, "multiRegionDiscovery", "us-east-1", a.logic}} {
		same(first, s.version(id, first.Version))
		s.refuses(request{Op: "rotate", ID: id})
		s.refuses(request{Op: "createKey"})
	}
	elsewhere := &store{x, x.b, "discovery", "eu-west-1", a.logic}
	elsewhere.refuses(request{Op: "active", ID: id})
}

func refusals(x *exchange) {
	key := x.server.CreateKey("us-east-1")
	a, b := x.under(x.a, key), x.under(x.b, key)
	a.createTable()
	ec := map[string]string{"tenant": "t 17"}
	id := a.createKey("mine", ec)
	active := a.active(id)
	b.refuses(request{Op: "createKey", ID: id, Context: ec})
	b.refuses(request{Op: "createKey", ID: "other"})
	b.refuses(request{Op: "active", ID: "other"})
	b.refuses(request{Op: "rotate", ID: "other"})
	b.refuses(request{Op: "version", ID: id, Version: "83eec007-5659-4554-bf11-699b90f41ac6"})
	for _, s := range []*store{{x, x.b, "key", key, "another name"}, x.under(x.b, x.server.CreateKey("us-east-1"))} {
		for _, op := range []string{"active", "beacon", "rotate"} {
			s.refuses(request{Op: op, ID: id})
		}
		s.refuses(request{Op: "version", ID: id, Version: active.Version})
	}
	same(active, a.active(id))
	same(active, b.active(id))
}
