package example;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import gitpod.v1.Pagination.PaginationRequest;
import gitpod.v1.PrebuildOuterClass.*;
import gitpod.v1.PrebuildServiceGrpc;
import gitpod.v1.PrebuildServiceGrpc.PrebuildServiceBlockingStub;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Quick start with grpc-java: the address and the key are all that names the gateway. */
public class QuickStart {
    /** A server that ignores the token would show page 1 for ever. */
    private static final int MAX_PAGES = 100;

    private static final String PROJECT = env("PREBUILD_GATEWAY_PROJECT");
    private static final String CLASS = env("PREBUILD_GATEWAY_CLASS");

    public static void main(String[] arguments) throws Exception {
        var address = URI.create(env("PREBUILD_GATEWAY_ADDRESS"));
        // Plaintext; with TLS, leave usePlaintext() out.
        var channel = ManagedChannelBuilder.forAddress(address.getHost(), address.getPort()).usePlaintext().build();
        var headers = new Metadata();
        headers.put(
                Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER),
                "Bearer " + env("PREBUILD_GATEWAY_KEY"));
        var client = PrebuildServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
                .withDeadlineAfter(1, TimeUnit.MINUTES);
        try {
            prebuilds(client);
            warmPool(client);
            refusal(client);
        } finally {
            channel.shutdown().awaitTermination(10, TimeUnit.SECONDS);
        }
    }

    private static void prebuilds(PrebuildServiceBlockingStub client) {
        var created = new ArrayList<String>();
        for (int i = 0; i < 3; i++) {
            var answer = client.createPrebuild(create(3600));
            created.add(answer.getPrebuild().getId());
        }
        var first = created.get(0);
        var got = client.getPrebuild(GetPrebuildRequest.newBuilder().setPrebuildId(first).build()).getPrebuild();
        expect(3600L, got.getSpec().getTimeout().getSeconds());
        expect(PROJECT, got.getMetadata().getProjectId());

        // Page by page, until there is no next token.
        var pages = new ArrayList<List<String>>();
        var token = "";
        do {
            var page = client.listPrebuilds(ListPrebuildsRequest.newBuilder()
                    .setPagination(PaginationRequest.newBuilder().setPageSize(1).setToken(token))
                    .setFilter(ListPrebuildsRequest.Filter.newBuilder().addProjectIds(PROJECT))
                    .build());
            pages.add(page.getPrebuildsList().stream().map(Prebuild::getId).toList());
            token = page.getPagination().getNextToken();
        } while (!token.isEmpty() && pages.size() < MAX_PAGES);
        var listed = pages.stream().flatMap(List::stream).sorted().toList();
        expect(true, pages.size() >= 3);
        expect(created.stream().sorted().toList(), listed);

        var logs = client.createPrebuildLogsToken(
                CreatePrebuildLogsTokenRequest.newBuilder().setPrebuildId(first).build());
        expect(false, logs.getAccessToken().isEmpty());

        var cancelled = client.cancelPrebuild(CancelPrebuildRequest.newBuilder().setPrebuildId(first).build());
        expect(PrebuildPhase.PREBUILD_PHASE_CANCELLING, cancelled.getPrebuild().getStatus().getPhase());
        for (var id : created) {
            client.deletePrebuild(DeletePrebuildRequest.newBuilder().setPrebuildId(id).build());
        }
    }

    private static void warmPool(PrebuildServiceBlockingStub client) {
        // The sizes have presence: a minimum of 0 is not an absent one.
        var id = client.createWarmPool(CreateWarmPoolRequest.newBuilder()
                        .setProjectId(PROJECT)
                        .setEnvironmentClassId(CLASS)
                        .setMinSize(0)
                        .setMaxSize(3)
                        .build())
                .getWarmPool()
                .getId();
        client.updateWarmPool(UpdateWarmPoolRequest.newBuilder().setWarmPoolId(id).setMaxSize(5).build());

        var got = client.getWarmPool(GetWarmPoolRequest.newBuilder().setWarmPoolId(id).build()).getWarmPool();
        expect(true, got.getSpec().hasMinSize());
        expect(0, got.getSpec().getMinSize());
        expect(5, got.getSpec().getMaxSize());

        var pools = client.listWarmPools(ListWarmPoolsRequest.getDefaultInstance()).getWarmPoolsList();
        expect(List.of(id), pools.stream().map(WarmPool::getId).toList());

        // Deletion is asynchronous.
        client.deleteWarmPool(DeleteWarmPoolRequest.newBuilder().setWarmPoolId(id).build());
    }

    /** What the gateway refuses, it explains: who refused, why, and each field that is wrong. */
    private static void refusal(PrebuildServiceBlockingStub client) throws Exception {
        try {
            client.createPrebuild(create(3 * 3600));
            throw new AssertionError("a timeout of 3 h should be refused");
        } catch (StatusRuntimeException refused) {
            expect(Status.Code.INVALID_ARGUMENT, refused.getStatus().getCode());
            ErrorInfo info = null;
            BadRequest request = null;
            for (Any detail : StatusProto.fromThrowable(refused).getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    info = detail.unpack(ErrorInfo.class);
                } else if (detail.is(BadRequest.class)) {
                    request = detail.unpack(BadRequest.class);
                }
            }
            expect("prebuild-gateway", info.getDomain());
            expect("GUARDRAIL", info.getReason());
            expect(1, request.getFieldViolationsCount());
            expect("spec.timeout", request.getFieldViolations(0).getField());
        }
    }

    private static CreatePrebuildRequest create(long seconds) {
        return CreatePrebuildRequest.newBuilder()
                .setProjectId(PROJECT)
                .setSpec(PrebuildSpec.newBuilder().setTimeout(Duration.newBuilder().setSeconds(seconds)))
                .build();
    }

    private static String env(String name) {
        var value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            throw new IllegalStateException(name + " is not set: start this with ./run");
        }
        return value;
    }

    private static void expect(Object want, Object got) {
        if (!want.equals(got)) {
            throw new AssertionError("want " + want + ", got " + got);
        }
    }
}
