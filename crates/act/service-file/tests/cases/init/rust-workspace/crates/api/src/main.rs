std::env::var("PORT")
