package main

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

var ecdhCurves = []struct {
	name  string
	curve ecdh.Curve
}{
	{"P256", ecdh.P256()},
	{"P384", ecdh.P384()},
	{"P521", ecdh.P521()},
}

// addECDHKeys adds, where they lack, the keys of a sender and a recipient for
// each curve in every form that a case can need.
func addECDHKeys(keys rawKeys) (added bool, err error) {
	for _, c := range ecdhCurves {
		if _, ok := keys[ecdhName(c.name, "discovery")]; ok {
			continue
		}
		var private, public [2][]byte // of sender and recipient
		for i := range private {
			priv, err := c.curve.GenerateKey(rand.Reader)
			if err != nil {
				return false, err
			}
			if private[i], err = x509.MarshalPKCS8PrivateKey(priv); err != nil {
				return false, err
			}
			if public[i], err = x509.MarshalPKIXPublicKey(priv.PublicKey()); err != nil {
				return false, err
			}
		}
		for _, k := range []Key{
			{Schema: "static", Private: private[0], Public: public[1]},
			{Schema: "static, recipient's side", Private: private[1], Public: public[0]},
			{Schema: "ephemeral", Public: public[1]},
			{Schema: "discovery", Private: private[1]},
		} {
			k.Type, k.Curve, k.Name = "ecdh", c.name, ecdhName(c.name, k.Schema)
			if k.Schema == "static, recipient's side" {
				k.Schema = "static"
			}
			keys[k.Name] = k
		}
		added = true
	}
	return added, nil
}

func ecdhName(curve, schema string) string { return fmt.Sprintf("ecdh %s %s", curve, schema) }

// ecdhProvider is provider of a key of type ecdh.
func (k *Key) ecdhProvider() (keyprovider.MasterKeyProvider, error) {
	var priv *ecdh.PrivateKey
	var pub *ecdh.PublicKey
	if k.Private != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(k.Private)
		if err != nil {
			return nil, err
		}
		if priv, err = parsed.(*ecdsa.PrivateKey).ECDH(); err != nil {
			return nil, err
		}
	}
	if k.Public != nil {
		parsed, err := x509.ParsePKIXPublicKey(k.Public)
		if err != nil {
			return nil, err
		}
		if pub, err = parsed.(*ecdsa.PublicKey).ECDH(); err != nil {
			return nil, err
		}
	}
	switch k.Schema {
	case "static":
		return keyprovider.NewRawECDHStatic(priv, pub)
	case "ephemeral":
		return keyprovider.NewRawECDHEphemeral(pub)
	case "discovery":
		return keyprovider.NewRawECDHDiscovery(priv)
	}
	return nil, fmt.Errorf("key agreement schema %q", k.Schema)
}

// ecdhCases have every suite with every schema that writes, on every curve, and
// every one that reads it.
func ecdhCases(keys rawKeys) []Case {
	var all []Case
	for _, id := range suite.All() {
		for _, curve := range ecdhCurves {
			for _, way := range [][2]string{
				{"static", "static"},
				{"static", "static, recipient's side"},
				{"static", "discovery"},
				{"ephemeral", "discovery"},
			} {
				c := newCase("ECDH", id, 4096, 300, keys[ecdhName(curve.name, way[0])]).withContext(contextNames[len(all)%len(contextNames)])
				c.ID += fmt.Sprintf(", %s from %s to %s", curve.name, way[0], way[1])
				reader := keys[ecdhName(curve.name, way[1])]
				c.ReadWith = &reader
				all = append(all, c)
			}
		}
		// Several recipients on several curves, and a raw AES key.
		for i, curve := range ecdhCurves {
			c := newCase("ECDH", id, 4096, 300, keys["ecdh P521 ephemeral"], keys["aes-256"], keys["ecdh P256 static"], keys["ecdh P384 ephemeral"]).withContext("ASCII")
			c.ID += fmt.Sprintf(", 4 keys, to %s discovery", curve.name)
			c.Reader = []int{2, 3, 0}[i]
			reader := keys[ecdhName(curve.name, "discovery")]
			c.ReadWith = &reader
			all = append(all, c)
		}
	}
	return all
}
