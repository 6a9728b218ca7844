// Exchange makes messages for the other SDKs and judges what they made of them
// and what they wrote; ../README.md has the whole round.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "exchange:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "cases":
		return makeCases(ctx, args[1])
	case len(args) == 3 && args[0] == "check":
		return checkPeer(ctx, args[1], args[2])
	}
	return errors.New("usage: exchange cases FILE | exchange check PEER FOLDER")
}

// makeCases writes all cases with esdk's messages to the file.
func makeCases(ctx context.Context, name string) error {
	keys, err := loadKeys()
	if err != nil {
		return err
	}
	var all []Case
	all = append(all, framingCases(keys)...)
	all = append(all, keyCases(keys)...)
	all = append(all, contextCases(keys)...)
	for i := range all {
		if err := all[i].encrypt(ctx); err != nil {
			return fmt.Errorf("%s: %w", all[i].ID, err)
		}
	}
	return writeLines(name, all)
}

func writeLines[T any](name string, all []T) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	for i := range all {
		if err := e.Encode(&all[i]); err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), f.Close())
}

func readLines[T any](name string) ([]T, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []T
	for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
		var v T
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, len(all)+1, err)
		}
		all = append(all, v)
	}
	return all, nil
}

// checkPeer judges the results of the peer in the folder.
func checkPeer(ctx context.Context, peer, folder string) error {
	cases, err := readLines[Case](folder + "/cases.jsonl")
	if err != nil {
		return err
	}
	results, err := readLines[Result](folder + "/results.jsonl")
	if err != nil {
		return err
	}
	byID := make(map[string]*Result)
	for i := range results {
		byID[results[i].ID] = &results[i]
	}
	for i := range cases {
		c := &cases[i]
		encrypt, decrypt := c.check(ctx, byID[c.ID])
		fmt.Printf("%s\t%s%s\t%s%s\n", c.ID, encrypt.Error, encrypt.Skip, decrypt.Error, decrypt.Skip)
	}
	return nil
}
