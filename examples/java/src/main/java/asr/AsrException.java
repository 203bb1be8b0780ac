package asr;

import io.grpc.Status;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A failed call. */
public final class AsrException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private static final Pattern CODE =
      Pattern.compile("^(?:\\[request id: [^\\]]*\\] )?([A-Z][A-Z0-9_]+): ");

  private final Status.Code status;
  private final String code;
  private final String requestId;

  AsrException(Status.Code status, String words, String requestId) {
    super(words);
    this.status = status;
    this.requestId = requestId;
    Matcher matcher = CODE.matcher(words == null ? "" : words);
    code = matcher.find() ? matcher.group(1) : "";
  }

  /** The gRPC status, such as INVALID_ARGUMENT. */
  public Status.Code status() {
    return status;
  }

  /** The contract's code, such as AUDIO_TOO_LONG; empty where the words are Triton's own. */
  public String code() {
    return code;
  }

  /** What the server's log calls this request. */
  public String requestId() {
    return requestId;
  }
}
