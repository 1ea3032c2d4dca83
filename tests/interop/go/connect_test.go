// Quick start with connect-go: one client, and an option for each protocol.
package prebuilds

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	gitpodv1 "example.com/prebuilds/gen/gitpod/v1"
	"example.com/prebuilds/gen/gitpod/v1/gitpodv1connect"
)

// The same port speaks all of them.
func TestConnect(t *testing.T) {
	// HTTP/2 without TLS, which gRPC needs; with TLS, http.DefaultClient does.
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	http2 := &http.Client{Transport: &http.Transport{Protocols: &protocols}}

	// The API's own base URL ends in /api: only the host changes. Without that path it is the same.
	address := env(t, "PREBUILD_GATEWAY_ADDRESS") + "/api"

	for _, test := range []struct {
		name    string
		http    *http.Client
		options []connect.ClientOption
	}{
		{"Connect, proto", http.DefaultClient, nil},
		{"Connect, JSON", http.DefaultClient, []connect.ClientOption{connect.WithProtoJSON()}},
		{"Connect, GET", http.DefaultClient, []connect.ClientOption{connect.WithHTTPGet()}},
		{"Connect, gzip", http.DefaultClient, []connect.ClientOption{connect.WithSendGzip()}},
		{"Connect over HTTP/2", http2, nil},
		{"gRPC", http2, []connect.ClientOption{connect.WithGRPC()}},
		{"gRPC, JSON", http2, []connect.ClientOption{connect.WithGRPC(), connect.WithProtoJSON()}},
		{"gRPC-Web", http.DefaultClient, []connect.ClientOption{connect.WithGRPCWeb()}},
		{"gRPC-Web over HTTP/2", http2, []connect.ClientOption{connect.WithGRPCWeb()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := append(test.options, connect.WithInterceptors(bearer(env(t, "PREBUILD_GATEWAY_KEY"))))
			quickStart(t, gitpodv1connect.NewPrebuildServiceClient(test.http, address, options...))
		})
	}
}

// Methods without side effects may be called by GET.
func TestConnectGet(t *testing.T) {
	options := []connect.ClientOption{connect.WithHTTPGet(), connect.WithInterceptors(bearer(env(t, "PREBUILD_GATEWAY_KEY")))}
	client := gitpodv1connect.NewPrebuildServiceClient(http.DefaultClient, env(t, "PREBUILD_GATEWAY_ADDRESS"), options...)

	ctx, call := connect.NewClientContext(t.Context())
	_, err := client.ListPrebuilds(ctx, &gitpodv1.ListPrebuildsRequest{})
	must(t, err)
	equal(t, http.MethodGet, call.HTTPMethod())
}

// bearer sends the key with every call.
func bearer(key string) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
			request.Header().Set("Authorization", "Bearer "+key)
			return next(ctx, request)
		}
	}
}

func quickStart(t *testing.T, client gitpodv1connect.PrebuildServiceClient) {
	project, class := env(t, "PREBUILD_GATEWAY_PROJECT"), env(t, "PREBUILD_GATEWAY_CLASS")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	// Prebuilds: create three, then look at the first.
	var ids []string
	for range 3 {
		created, err := client.CreatePrebuild(ctx, &gitpodv1.CreatePrebuildRequest{
			ProjectId: project,
			Spec:      &gitpodv1.PrebuildSpec{Timeout: durationpb.New(time.Hour)},
		})
		must(t, err)
		ids = append(ids, created.Prebuild.Id)
	}
	got, err := client.GetPrebuild(ctx, &gitpodv1.GetPrebuildRequest{PrebuildId: ids[0]})
	must(t, err)
	equal(t, time.Hour, got.Prebuild.Spec.Timeout.AsDuration())
	equal(t, project, got.Prebuild.Metadata.ProjectId)

	// Page by page, until there is no next token.
	var pages [][]string
	list := &gitpodv1.ListPrebuildsRequest{
		Pagination: &gitpodv1.PaginationRequest{PageSize: 1},
		Filter:     &gitpodv1.ListPrebuildsRequest_Filter{ProjectIds: []string{project}},
	}
	for len(pages) < maxPages {
		page, err := client.ListPrebuilds(ctx, list)
		must(t, err)
		pages = append(pages, identifiers(page.Prebuilds))
		list.Pagination.Token = page.Pagination.GetNextToken()
		if list.Pagination.Token == "" {
			break
		}
	}
	listedOnce(t, pages, ids)

	token, err := client.CreatePrebuildLogsToken(ctx, &gitpodv1.CreatePrebuildLogsTokenRequest{PrebuildId: ids[0]})
	must(t, err)
	notEmpty(t, token.AccessToken)

	cancelled, err := client.CancelPrebuild(ctx, &gitpodv1.CancelPrebuildRequest{PrebuildId: ids[0]})
	must(t, err)
	equal(t, gitpodv1.PrebuildPhase_PREBUILD_PHASE_CANCELLING, cancelled.Prebuild.Status.Phase)
	for _, id := range ids {
		_, err := client.DeletePrebuild(ctx, &gitpodv1.DeletePrebuildRequest{PrebuildId: id})
		must(t, err)
	}

	// A warm pool. Its sizes have presence: a minimum of 0 is not an absent one.
	pool, err := client.CreateWarmPool(ctx, &gitpodv1.CreateWarmPoolRequest{
		ProjectId: project, EnvironmentClassId: class, MinSize: proto.Int32(0), MaxSize: proto.Int32(3),
	})
	must(t, err)
	id := pool.WarmPool.Id
	_, err = client.UpdateWarmPool(ctx, &gitpodv1.UpdateWarmPoolRequest{WarmPoolId: id, MaxSize: proto.Int32(5)})
	must(t, err)
	gotPool, err := client.GetWarmPool(ctx, &gitpodv1.GetWarmPoolRequest{WarmPoolId: id})
	must(t, err)
	equal(t, 0, *gotPool.WarmPool.Spec.MinSize)
	equal(t, 5, *gotPool.WarmPool.Spec.MaxSize)
	pools, err := client.ListWarmPools(ctx, &gitpodv1.ListWarmPoolsRequest{})
	must(t, err)
	equal(t, id, pools.WarmPools[0].Id)
	_, err = client.DeleteWarmPool(ctx, &gitpodv1.DeleteWarmPoolRequest{WarmPoolId: id})
	must(t, err)
	eventually(t, "the pool is gone, for deletion is asynchronous", func() bool {
		_, err := client.GetWarmPool(ctx, &gitpodv1.GetWarmPoolRequest{WarmPoolId: id})
		return connect.CodeOf(err) == connect.CodeNotFound
	})

	// What the gateway refuses, it explains: who refused, why, and each field that is wrong.
	_, err = client.CreatePrebuild(ctx, &gitpodv1.CreatePrebuildRequest{
		ProjectId: project,
		Spec:      &gitpodv1.PrebuildSpec{Timeout: durationpb.New(3 * time.Hour)},
	})
	var refusal *connect.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("a timeout of 3 h should be refused, but: %v", err)
	}
	equal(t, connect.CodeInvalidArgument, refusal.Code())
	var info *errdetails.ErrorInfo
	var request *errdetails.BadRequest
	for _, detail := range refusal.Details() {
		value, err := detail.Value()
		must(t, err)
		switch value := value.(type) {
		case *errdetails.ErrorInfo:
			info = value
		case *errdetails.BadRequest:
			request = value
		}
	}
	equal(t, "prebuild-gateway", info.GetDomain())
	equal(t, "GUARDRAIL", info.GetReason())
	equal(t, 1, len(request.GetFieldViolations()))
	equal(t, "spec.timeout", request.FieldViolations[0].Field)
}
