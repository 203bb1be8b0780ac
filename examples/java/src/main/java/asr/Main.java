package asr;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/** Prints the RESULT of one recording: FILE [SECONDS], the address in ASR_URL. */
public final class Main {
  private Main() {}

  public static void main(String[] args) throws IOException {
    if (args.length < 1 || args.length > 2) {
      System.err.println("usage: asr.Main FILE [SECONDS], with ASR_URL=HOST:PORT");
      System.exit(2);
    }
    double seconds = args.length > 1 ? Double.parseDouble(args[1]) : 60;
    Duration timeout = Duration.ofNanos(Math.round(seconds * 1e9));
    byte[] audio = Files.readAllBytes(Path.of(args[0]));
    String address = System.getenv().getOrDefault("ASR_URL", "localhost:8001");
    try (Transcriber transcriber = new Transcriber(address)) {
      System.out.println(transcriber.transcribe(audio, "{\"timestamps\": \"word\"}", timeout));
    } catch (AsrException error) {
      System.err.printf("%s %s (request %s)%n", error.status(), error.getMessage(), error.requestId());
      System.exit(1);
    }
  }
}
