// Quick start with grpc-go: the address and the key are all that names the gateway.
package prebuilds

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	gitpodv1 "example.com/prebuilds/gen/gitpod/v1"
)

func TestGRPC(t *testing.T) {
	address := strings.TrimPrefix(env(t, "PREBUILD_GATEWAY_ADDRESS"), "http://")
	key := env(t, "PREBUILD_GATEWAY_KEY")
	project, class := env(t, "PREBUILD_GATEWAY_PROJECT"), env(t, "PREBUILD_GATEWAY_CLASS")

	// Plaintext; with TLS it is credentials.NewTLS(nil).
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	client := gitpodv1.NewPrebuildServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)

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
		return status.Code(err) == codes.NotFound
	})

	// What the gateway refuses, it explains: who refused, why, and each field that is wrong.
	_, err = client.CreatePrebuild(ctx, &gitpodv1.CreatePrebuildRequest{
		ProjectId: project,
		Spec:      &gitpodv1.PrebuildSpec{Timeout: durationpb.New(3 * time.Hour)},
	})
	equal(t, codes.InvalidArgument, status.Code(err))
	var info *errdetails.ErrorInfo
	var request *errdetails.BadRequest
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			info = detail
		case *errdetails.BadRequest:
			request = detail
		}
	}
	equal(t, "prebuild-gateway", info.GetDomain())
	equal(t, "GUARDRAIL", info.GetReason())
	equal(t, 1, len(request.GetFieldViolations()))
	equal(t, "spec.timeout", request.FieldViolations[0].Field)
}
