package keyprovider

import (
	"fmt"
	"sync"
	"time"
)

// outages are the master keys of a quorum that failed when they were asked last.
type outages struct {
	cooldown time.Duration
	mu       sync.Mutex
	of       map[keyID]*outage
}

// An outage is what is known about a master key that failed.
type outage struct {
	failed time.Time
	err    error
	probed bool // a message is asking the key again
}

// A keyID tells the master keys of a provider apart: by the text of the String method
// and the number of keys before it that have the same, or that have none. MasterKeys may
// return other values each time, so those tell nothing.
type keyID struct {
	text   string
	number int
}

// A member is a master key as one message sees it.
type member struct {
	id        keyID
	admission admission
	probes    *outage // of a probing one

	cancel  func() // of the call that is under way; nil: none is
	asked   bool
	overdue bool  // the latest call took longer than Wait
	givenUp bool  // the latest call was canceled
	failed  bool  // a call ended with an error of its own
	fault   error // why it did not generate, if it was not overdue
	due     bool  // it may be in without the reserve, as it is not overdue
	in      bool  // edk is the data key, wrapped
	edk     EncryptedDataKey
	err     error // why the key is not in: it failed, is overdue, or is left out
}

// join puts the member in.
func (m *member) join(edk EncryptedDataKey) { m.edk, m.in, m.err = edk, true, nil }

// giveUp cancels the call that is under way.
func (m *member) giveUp() {
	if m.cancel != nil {
		m.givenUp = true
		m.cancel()
	}
}

// named returns the error of the master key at index i, with its name if it has one.
func (m *member) named(i int, err error) error {
	if m.id.text == "" {
		return ofKey(i, err)
	}
	return fmt.Errorf("master key %d (%.200s): %w", i+1, m.id.text, err)
}

// An admission says whether a message asks a master key.
type admission int

const (
	welcome admission = iota
	probing           // it is asked again, by this message alone
	leftOut           // it is asked only if too few others answer
)

// admit returns the members of a round, one for each of keys. Those that are left out
// have an error. The caller must dismiss them.
func (o *outages) admit(keys []MasterKey) []member {
	members := make([]member, len(keys))
	before := make(map[string]int, len(keys))
	for i, key := range keys {
		var text string
		if s, ok := key.(fmt.Stringer); ok {
			text = s.String()
		}
		members[i].id = keyID{text, before[text]}
		before[text]++
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for i := range members {
		m := &members[i]
		outage := o.of[m.id]
		if outage == nil {
			continue
		}
		age := now.Sub(outage.failed)
		if age >= o.cooldown && !outage.probed {
			outage.probed = true
			m.admission, m.probes = probing, outage
			continue
		}
		m.admission = leftOut
		m.err = m.named(i, fmt.Errorf("not asked, as it failed %v ago: %w", age.Round(time.Millisecond), outage.err))
	}
	return members
}

// dismiss ends a round. The next message asks the keys again that this one was to ask
// and did not.
func (o *outages) dismiss(members []member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range members {
		if p := members[i].probes; p != nil {
			p.probed = false
		}
	}
}

// begin records that a key failed.
func (o *outages) begin(id keyID, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if len(o.of) >= maxOutages { // most of keys that nobody asks any more
		for id, outage := range o.of {
			if len(o.of) >= maxOutages || now.Sub(outage.failed) >= o.cooldown {
				delete(o.of, id)
			}
		}
	}
	o.of[id] = &outage{failed: now, err: err}
}

// end records that a key answered.
func (o *outages) end(id keyID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.of, id)
}

// maxOutages is how many outages are remembered: the keys may depend on the message.
const maxOutages = 1000
