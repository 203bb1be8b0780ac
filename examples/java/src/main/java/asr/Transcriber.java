package asr;

import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.InferParameter;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** Calls the service at one address; may be shared by threads. */
public final class Transcriber implements AutoCloseable {
  private final ManagedChannel channel;
  private final GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub stub;

  /** Opens nothing before the first call. */
  public Transcriber(String address) {
    channel =
        ManagedChannelBuilder.forTarget(address)
            .usePlaintext()
            // RESULT of an hour with characters is larger than gRPC's default of 4 MiB.
            .maxInboundMessageSize(Integer.MAX_VALUE)
            .build();
    stub = GRPCInferenceServiceGrpc.newBlockingStub(channel);
  }

  /**
   * Transcribes one recording.
   *
   * @param audio an audio file as it is on disk
   * @param options a JSON object; {} for the defaults
   * @param timeout bounds the whole call
   * @return the RESULT document, JSON
   * @throws AsrException when the call failed or its time is over
   */
  public String transcribe(byte[] audio, String options, Duration timeout) {
    String id = UUID.randomUUID().toString();
    long timeoutUs = Math.max(1, timeout.toNanos() / 1000);
    // The rest of the time is for the answer.
    long queueUs = Math.max(1, timeoutUs * 7 / 10);
    ModelInferRequest request =
        ModelInferRequest.newBuilder()
            .setModelName("transcribe")
            .setId(id)
            // The server drops the request from its queue when nobody waits any more.
            .putParameters("timeout", InferParameter.newBuilder().setInt64Param(queueUs).build())
            .addInputs(tensor("AUDIO"))
            .addInputs(tensor("OPTIONS"))
            .addRawInputContents(element(ByteString.copyFrom(audio)))
            .addRawInputContents(element(ByteString.copyFromUtf8(options)))
            .build();
    try {
      return result(
          stub.withDeadlineAfter(timeoutUs, TimeUnit.MICROSECONDS).modelInfer(request), id);
    } catch (StatusRuntimeException error) {
      Status status = error.getStatus();
      throw new AsrException(status.getCode(), status.getDescription(), id);
    }
  }

  @Override
  public void close() {
    channel.shutdownNow();
  }

  private static ModelInferRequest.InferInputTensor tensor(String name) {
    return ModelInferRequest.InferInputTensor.newBuilder()
        .setName(name)
        .setDatatype("BYTES")
        .addShape(1)
        .addShape(1)
        .build();
  }

  /** One element of a BYTES tensor: its length in 4 bytes, little-endian, then the bytes. */
  private static ByteString element(ByteString value) {
    ByteBuffer length = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
    length.putInt(value.size()).flip();
    return ByteString.copyFrom(length).concat(value);
  }

  private static String result(ModelInferResponse response, String id) {
    for (int i = 0; i < response.getOutputsCount(); i++) {
      if (response.getOutputs(i).getName().equals("RESULT")
          && i < response.getRawOutputContentsCount()) {
        ByteString raw = response.getRawOutputContents(i);
        if (raw.size() >= 4
            && raw.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).getInt()
                == raw.size() - 4) {
          return raw.substring(4).toStringUtf8();
        }
      }
    }
    throw new AsrException(Status.Code.OK, "the answer has no RESULT of one element", id);
  }
}
