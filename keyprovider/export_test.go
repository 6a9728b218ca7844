package keyprovider

// Outages returns how many keys of a Quorum are known to have failed.
func Outages(q MasterKeyProvider) int {
	o := &q.(*quorum).outages
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.of)
}
