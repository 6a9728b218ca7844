package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/keyprovider/providertest"
)

func service(t *testing.T) localService {
	s, err := newLocalService("old", "new")
	require.NoError(t, err)
	return s
}

func TestProviderKeepsTheContract(t *testing.T) {
	providertest.Test(t, providertest.Config{
		Provider: &Provider{Service: service(t), KeyIDs: []string{"new", "old"}},
	})
}

func TestMessagesOutliveRotation(t *testing.T) {
	s := service(t)
	message, _, err := esdk.Encrypt(t.Context(), []byte("hello"), &Provider{s, []string{"old"}}, nil)
	require.NoError(t, err)

	plaintext, _, err := esdk.Decrypt(t.Context(), message, &Provider{s, []string{"new", "old"}}, nil)
	require.NoError(t, err)
	require.Equal(t, "hello", string(plaintext))

	_, _, err = esdk.Decrypt(t.Context(), message, &Provider{s, []string{"new"}}, nil)
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	_, _, err = esdk.Encrypt(t.Context(), nil, &Provider{s, []string{"unknown"}}, nil)
	require.ErrorContains(t, err, `wrap under "unknown"`)
}

func TestRun(t *testing.T) { require.NoError(t, run(t.Context())) }
